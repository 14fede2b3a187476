//! Names with places for fields: `orders.{region}.created`.

use syn::{Error, LitStr, Result};
use tidings_core::Name;

/// A name in parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Segment>);

/// One segment of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// As it is.
    Literal(String),
    /// The value of this field.
    Field(String),
}

impl Template {
    /// The template that a literal contains.
    pub(crate) fn parse(literal: &LitStr) -> Result<Self> {
        let text = literal.value();
        let fail = |message: String| Error::new(literal.span(), message);
        let segments = text
            .split('.')
            .map(|segment| {
                if let Some(field) = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}'))
                    && !field.contains(['{', '}'])
                {
                    return Ok(Segment::Field(field.to_owned()));
                }
                if segment.contains(['{', '}']) {
                    return Err(fail(format!(
                        "in the segment `{segment}`: a field must be a whole segment, like \
                         `orders.{{region}}.created`"
                    )));
                }
                Ok(Segment::Literal(segment.to_owned()))
            })
            .collect::<Result<_>>()?;
        let template = Self(segments);
        // The shortest name a value can have: what is wrong with it is wrong with all.
        Name::check(&template.with_fields_as("x")).map_err(|error| fail(error.to_string()))?;
        Ok(template)
    }

    /// The pattern that all names made of it match.
    pub(crate) fn pattern(&self) -> String {
        self.with_fields_as("*")
    }

    /// Its segments in order.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.0
    }

    fn with_fields_as(&self, placeholder: &str) -> String {
        let texts = self.0.iter().map(|segment| match segment {
            Segment::Literal(text) => text.as_str(),
            Segment::Field(_) => placeholder,
        });
        texts.collect::<Vec<_>>().join(".")
    }
}
