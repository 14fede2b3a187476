//! Reading `#[event(...)]`.

use syn::{DeriveInput, Error, LitStr, Path, Result};
use tidings_core::Priority;

/// What the attribute says.
pub(crate) struct EventAttribute {
    /// How the events are named.
    pub(crate) name: LitStr,
    /// How urgent they are.
    pub(crate) priority: Priority,
    /// Where the trait is.
    pub(crate) krate: Path,
}

impl EventAttribute {
    /// The attributes of a type, which may be spread over several.
    pub(crate) fn of(input: &DeriveInput) -> Result<Self> {
        let (mut name, mut priority, mut krate) = (None, None, None);
        for attribute in input.attrs.iter().filter(|a| a.path().is_ident("event")) {
            attribute.parse_nested_meta(|meta| {
                let place = if meta.path.is_ident("name") {
                    &mut name
                } else if meta.path.is_ident("priority") {
                    &mut priority
                } else if meta.path.is_ident("crate") {
                    &mut krate
                } else {
                    return Err(meta.error("unknown key: use `name`, `priority` or `crate`"));
                };
                let value: LitStr = meta.value()?.parse()?;
                match place.replace(value) {
                    None => Ok(()),
                    Some(_) => Err(meta.error("said twice")),
                }
            })?;
        }
        let Some(name) = name else {
            return Err(Error::new_spanned(
                &input.ident,
                "how are events of this type named? Say #[event(name = \"orders.{region}.created\")]",
            ));
        };
        let priority = match priority {
            Some(text) => text.value().parse().map_err(|error| Error::new(text.span(), error))?,
            None => Priority::default(),
        };
        let krate = match krate {
            Some(path) => path.parse()?,
            None => syn::parse_str("::tidings")?,
        };
        Ok(Self { name, priority, krate })
    }
}
