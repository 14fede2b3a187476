//! `#[derive(Event)]` for Tidings.
#![deny(missing_docs)]

mod attribute;
mod expand;
mod template;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Names the events of a type.
///
/// ```
/// use tidings_core::{Name, Priority, TypedEvent};
/// use tidings_macros::Event;
///
/// #[derive(Event)]
/// #[event(name = "orders.{region}.created", priority = "high", crate = "tidings_core")]
/// struct OrderCreated {
///     region: String,
///     total: u32,
/// }
///
/// let order = OrderCreated { region: "eu".into(), total: 7 };
/// assert_eq!(order.name()?.as_str(), "orders.eu.created");
/// assert_eq!(OrderCreated::PATTERN, "orders.*.created");
/// assert_eq!(OrderCreated::PRIORITY, Priority::High);
/// # let _ = order.total;
/// # Ok::<(), tidings_core::NameError>(())
/// ```
///
/// - `name` (required): the name of the events. A segment `{field}` is filled from that field of
///   the value (by `Display`; `{0}` in tuple structs) when it is published, and is `*` in the
///   pattern that subscribers of the type use. A field is always a whole segment.
/// - `priority`: `low`, `normal` (default), `high` or `critical`.
/// - `crate`: the path of the crate that has the trait, if it is not `tidings`.
///
/// A value whose field is empty, contains a dot or is a wildcard has no name: publishing it is an
/// error, so that it never silently becomes another event than its type promises.
///
/// What can be known to be wrong is an error when the program is compiled: a field that does not
/// exist,
/// ```compile_fail
/// #[derive(tidings_macros::Event)]
/// #[event(name = "orders.{reigon}.created", crate = "tidings_core")]
/// struct OrderCreated { region: String }
/// ```
/// a name that is not one,
/// ```compile_fail
/// #[derive(tidings_macros::Event)]
/// #[event(name = "orders.*.created", crate = "tidings_core")]
/// struct OrderCreated { region: String }
/// ```
/// a field that is only part of a segment,
/// ```compile_fail
/// #[derive(tidings_macros::Event)]
/// #[event(name = "orders.region-{region}.created", crate = "tidings_core")]
/// struct OrderCreated { region: String }
/// ```
/// a priority there is not,
/// ```compile_fail
/// #[derive(tidings_macros::Event)]
/// #[event(name = "orders.{region}.created", priority = "urgent", crate = "tidings_core")]
/// struct OrderCreated { region: String }
/// ```
/// a field that cannot be written as text,
/// ```compile_fail
/// #[derive(tidings_macros::Event)]
/// #[event(name = "orders.{region}.created", crate = "tidings_core")]
/// struct OrderCreated { region: Vec<u8> }
/// ```
/// and no name at all.
/// ```compile_fail
/// #[derive(tidings_macros::Event)]
/// struct OrderCreated { region: String }
/// ```
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
