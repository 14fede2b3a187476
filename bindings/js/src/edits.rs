//! What the page wants changed in a collection.

use tidings::Collection;
use tidings::collection::{ChangeError, Document, Edit, Key, Patch, Reason, Rejection};
use tidings_core::json::{MAX_DEPTH, Value, parse};

use crate::failure::Failure;

/// Reads `[what, key, value, what, key, value, ...]`; without those that change nothing.
pub(crate) fn read(
    collection: &Collection<Document>,
    json: &str,
) -> Result<Vec<(Key, Edit)>, Failure> {
    let edits = parse(json.as_bytes(), MAX_DEPTH + 1).map_err(Failure::bad_argument)?;
    let mut parts = edits.array().into_iter().flatten();
    let mut read = Vec::new();
    while let (Some(what), Some(key), Some(value)) = (parts.next(), parts.next(), parts.next()) {
        let key = Key::new(key.as_str().unwrap_or_default()).map_err(ChangeError::Key)?;
        let edit = edit(collection, &what.as_str().unwrap_or_default(), &key, value)?;
        read.extend(edit.map(|edit| (key, edit)));
    }
    Ok(read)
}

fn edit(
    collection: &Collection<Document>,
    what: &str,
    key: &Key,
    value: Value<'_>,
) -> Result<Option<Edit>, Failure> {
    let json = value.raw().as_bytes();
    let document = || Document::parse(json, MAX_DEPTH).map_err(ChangeError::Document);
    let patch = || Patch::parse(json, MAX_DEPTH).map_err(ChangeError::Document);
    Ok(Some(match what {
        "insert" => Edit::Insert(document()?),
        "replace" => Edit::Replace(document()?),
        "update" => Edit::Update(patch()?),
        "increment" => Edit::Increment(patch()?),
        // What a record was made into: the fields that differ.
        "change" => match collection.get(key.as_str()) {
            Some(shown) => match shown.patch_to(&document()?) {
                patch if patch.is_empty() => return Ok(None),
                patch => Edit::Update(patch),
            },
            None => return Err(Rejection { key: key.clone(), reason: Reason::Missing }.into()),
        },
        _ => Edit::Delete,
    }))
}
