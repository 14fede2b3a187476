//! What the derive writes.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Data, DeriveInput, Error, Fields, Index, Member, Result};
use tidings_core::Priority;

use crate::attribute::EventAttribute;
use crate::template::{Segment, Template};

/// The implementation of the trait for a type.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        let message = "only structs can be events: an event has one name";
        return Err(Error::new_spanned(&input.ident, message));
    };
    let EventAttribute { name, priority, krate } = EventAttribute::of(input)?;
    let template = Template::parse(&name)?;
    let parts = template
        .segments()
        .iter()
        .map(|segment| match segment {
            Segment::Literal(text) => Ok(quote!(name.literal(#text);)),
            Segment::Field(field) => {
                let member = member(&data.fields, field)
                    .ok_or_else(|| Error::new(name.span(), unknown(input, &data.fields, field)))?;
                Ok(quote_spanned!(name.span()=> name.field(#field, &self.#member)?;))
            }
        })
        .collect::<Result<Vec<_>>>()?;
    let pattern = template.pattern();
    let priority = match priority {
        Priority::Low => quote!(Low),
        Priority::Normal => quote!(Normal),
        Priority::High => quote!(High),
        Priority::Critical => quote!(Critical),
    };
    let ident = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics #krate::TypedEvent for #ident #arguments #bounds {
            const PATTERN: &'static str = #pattern;
            const PRIORITY: #krate::Priority = #krate::Priority::#priority;

            fn name(&self) -> ::core::result::Result<#krate::Name, #krate::NameError> {
                let mut name = <#krate::NameWriter as ::core::default::Default>::default();
                #(#parts)*
                name.finish()
            }
        }
    })
}

/// The field with this name, or with this number in a tuple.
fn member(fields: &Fields, wanted: &str) -> Option<Member> {
    fields.members().find(|member| text(member) == wanted)
}

fn text(member: &Member) -> String {
    match member {
        Member::Named(ident) => ident.to_string().trim_start_matches("r#").to_owned(),
        Member::Unnamed(Index { index, .. }) => index.to_string(),
    }
}

fn unknown(input: &DeriveInput, fields: &Fields, wanted: &str) -> String {
    let known: Vec<_> = fields.members().map(|member| format!("`{}`", text(&member))).collect();
    let known = if known.is_empty() { "no fields".to_owned() } else { known.join(", ") };
    format!("`{}` has no field `{wanted}`; it has {known}", input.ident)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the compiler is told about a type.
    fn error(text: &str) -> String {
        let input = syn::parse_str(text).expect("a type");
        expand(&input).expect_err("not accepted").to_string()
    }

    #[test]
    fn errors_say_what_is_wrong_and_what_would_be_right() {
        for (attribute, expected) in [
            ("", "how are events of this type named?"),
            ("#[event(priority = \"high\")]", "how are events of this type named?"),
            ("#[event(name = \"a.{reigon}\")]", "`E` has no field `reigon`; it has `region`"),
            ("#[event(name = \"a.{}\")]", "`E` has no field ``"),
            ("#[event(name = \"a.x-{region}\")]", "in the segment `x-{region}`"),
            ("#[event(name = \"a.{region\")]", "in the segment `{region`"),
            ("#[event(name = \"a.{{region}}\")]", "in the segment `{{region}}`"),
            ("#[event(name = \"a.**\")]", "segment 2 is `**`"),
            ("#[event(name = \"\")]", "at least one character"),
            ("#[event(name = \"a\\n\")]", "control character U+000A at byte 1"),
            ("#[event(name = \"a\", priority = \"urgent\")]", "use low, normal, high or critical"),
            ("#[event(name = \"a\", name = \"b\")]", "said twice"),
            ("#[event(name = \"a\", colour = \"b\")]", "unknown key: use `name`, `priority`"),
            ("#[event(name = 7)]", "expected string literal"),
            ("#[event(name = \"a\", crate = \"1\")]", "expected identifier"),
        ] {
            let message = error(&format!("{attribute} struct E {{ region: String }}"));
            assert!(message.contains(expected), "{attribute}: {message}");
        }
        let message = error("#[event(name = \"{x}\")] struct E;");
        assert!(message.contains("it has no fields"), "{message}");
        let message = error("#[event(name = \"a\")] enum E { A }");
        assert!(message.contains("only structs can be events"), "{message}");
    }

    #[test]
    fn the_trait_is_that_of_tidings_unless_told() {
        let input = syn::parse_str("#[event(name = \"a\")] struct E;").unwrap();
        let code = expand(&input).unwrap().to_string();
        assert!(code.contains("impl :: tidings :: TypedEvent for E"), "{code}");
    }
}
