//! What can be done with the fields of records and patches.

use std::borrow::Cow;

use super::IncrementError;
use super::tree::{Members, Tree};

/// Leaves out members that are `null`, at any depth.
pub(super) fn remove_nulls(members: &mut Members<'_>) {
    members.retain(|_, value| {
        if let Tree::Object(nested) = value {
            remove_nulls(nested);
        }
        !value.is_null()
    });
}

/// RFC 7396, section 2.
pub(super) fn merge<'a>(target: &mut Members<'a>, patch: Members<'a>) {
    for (key, value) in patch {
        match value {
            Tree::Object(nested) => {
                let slot = target.get_or_insert_with(key, Tree::null);
                if !matches!(slot, Tree::Object(_)) {
                    *slot = Tree::Object(Members::new());
                }
                if let Tree::Object(inner) = slot {
                    merge(inner, nested);
                }
            }
            value if value.is_null() => {
                target.remove(&key);
            }
            value => {
                target.insert(key, value);
            }
        }
    }
}

/// The smallest patch from one to the other.
pub(super) fn difference<'a>(from: &Members<'a>, to: &Members<'a>) -> Members<'a> {
    let mut patch = Members::new();
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Tree::null());
    }
    for (key, new) in to {
        match (from.get(key), new) {
            (Some(old), new) if old == new => {}
            (Some(Tree::Object(old)), Tree::Object(new)) => {
                patch.insert(key.clone(), Tree::Object(difference(old, new)));
            }
            _ => {
                patch.insert(key.clone(), new.clone());
            }
        }
    }
    patch
}

/// What takes the change from `before` to `after` back, where `now` still is as in `after`.
pub(super) fn reverted<'a>(
    now: &Members<'a>,
    before: &Members<'a>,
    after: &Members<'a>,
) -> Members<'a> {
    let mut patch = Members::new();
    for key in before.keys().chain(after.keys()) {
        let (old, new, now) = (before.get(key), after.get(key), now.get(key));
        match (old, new, now) {
            _ if old == new => {}
            (Some(Tree::Object(old)), Some(Tree::Object(new)), Some(Tree::Object(now))) => {
                let nested = reverted(now, old, new);
                if !nested.is_empty() {
                    patch.insert(key.clone(), Tree::Object(nested));
                }
            }
            _ if now == new => {
                patch.insert(key.clone(), old.cloned().unwrap_or_else(Tree::null));
            }
            _ => {}
        }
    }
    patch
}

/// What a record has in the fields that are touched; `null` where it has nothing.
pub(super) fn of<'a>(record: &Members<'a>, touched: &Members<'a>) -> Members<'a> {
    let field = |(key, value): (&Cow<'a, str>, &Tree<'a>)| {
        let had = match (record.get(key), value) {
            (Some(Tree::Object(had)), Tree::Object(touched)) => Tree::Object(of(had, touched)),
            (Some(had), _) => had.clone(),
            (None, _) => Tree::null(),
        };
        (key.clone(), had)
    };
    touched.iter().map(field).collect()
}

/// What `was`, `patch` and `theirs` have in fields that both sides have changed, and to different
/// values; in this order, if there are any.
pub(super) fn clash<'a>(
    was: &Members<'a>,
    patch: &Members<'a>,
    theirs: &Members<'a>,
) -> Option<[Members<'a>; 3]> {
    static NOTHING: Members<'static> = Members::new();
    let mut found = [Members::new(), Members::new(), Members::new()];
    for (key, mine) in patch {
        let present = |tree: &&Tree<'a>| !tree.is_null();
        let base = was.get(key).filter(present);
        let other = theirs.get(key);
        let nested =
            |tree: Option<&'_ Tree<'a>>| tree.is_none_or(|tree| tree.as_object().is_some());
        if let Tree::Object(mine) = mine
            && nested(base)
            && nested(other)
        {
            let inner = |tree: Option<&Tree<'a>>| {
                tree.and_then(Tree::as_object).cloned().unwrap_or_else(|| NOTHING.clone())
            };
            let below = clash(&inner(base), mine, &inner(other)).unwrap_or_default();
            for (found, below) in found.iter_mut().zip(below) {
                if !below.is_empty() {
                    found.insert(key.clone(), Tree::Object(below));
                }
            }
            continue;
        }
        let mine = Some(mine).filter(present);
        if other == base || other == mine {
            continue;
        }
        for (found, value) in found.iter_mut().zip([base, mine, other]) {
            if let Some(value) = value {
                found.insert(key.clone(), value.clone());
            }
        }
    }
    found.iter().any(|members| !members.is_empty()).then_some(found)
}

/// The fields named in `amounts` with the amounts added; one that is not there counts as 0.
pub(super) fn sums<'a>(
    record: &Members<'a>,
    amounts: &Members<'a>,
    within: &str,
) -> Result<Members<'a>, IncrementError> {
    static NOTHING: Members<'static> = Members::new();
    let mut patch = Members::new();
    for (key, amount) in amounts {
        let field = format!("{within}{key}");
        let sum = match (record.get(key), amount) {
            (None, Tree::Object(amounts)) => {
                Tree::Object(sums(&NOTHING.clone(), amounts, &format!("{field}."))?)
            }
            (Some(Tree::Object(nested)), Tree::Object(amounts)) => {
                Tree::Object(sums(nested, amounts, &format!("{field}."))?)
            }
            (before, amount) => {
                let before = before.map_or(Ok(0), |before| whole(before, &field))?;
                let sum = before.checked_add(whole(amount, &field)?);
                let sum = sum.ok_or(IncrementError::Overflow { field })?;
                Tree::Scalar(sum.to_string().into())
            }
        };
        patch.insert(key.clone(), sum);
    }
    Ok(patch)
}

/// Turns every amount into its negative.
pub(super) fn negate(amounts: &mut Members<'_>, within: &str) -> Result<(), IncrementError> {
    for (key, amount) in amounts.iter_mut() {
        let field = format!("{within}{key}");
        if let Tree::Object(nested) = amount {
            negate(nested, &format!("{field}."))?;
            continue;
        }
        let negative = whole(amount, &field)?.checked_neg();
        let negative = negative.ok_or(IncrementError::Overflow { field })?;
        *amount = Tree::Scalar(negative.to_string().into());
    }
    Ok(())
}

fn whole(tree: &Tree<'_>, field: &str) -> Result<i64, IncrementError> {
    tree.as_i64().ok_or_else(|| {
        let value = match tree {
            Tree::Scalar(text) => text.chars().take(40).collect(),
            Tree::Array(_) => "an array".to_owned(),
            Tree::Object(_) => "an object".to_owned(),
        };
        IncrementError::NotANumber { field: field.to_owned(), value }
    })
}
