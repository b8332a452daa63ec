//! What stands in the parentheses of the attribute.

use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, LitStr, Path, Result, Token, parenthesized};

/// The options of one attribute.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) namespace: Option<Namespace>,
    pub(crate) annotate: Vec<Ident>,
    pub(crate) metadata: Vec<Ident>,
    pub(crate) errors: Errors,
    pub(crate) krate: Option<Path>,
}

#[derive(Clone, Copy)]
pub(crate) enum Namespace {
    Aws,
    Remote,
}

/// Whether an `Err` is recorded.
#[derive(Clone, Copy, Default)]
pub(crate) enum Errors {
    /// If the return type is called `Result`.
    #[default]
    OfResult,
    Always,
    Never,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        let mut given: Vec<Ident> = Vec::new();
        while !input.is_empty() {
            let option = input.call(Ident::parse_any)?; // `crate` is a keyword
            if given.contains(&option) {
                return Err(Error::new(
                    option.span(),
                    format!("`{option}` is given twice"),
                ));
            }
            options.parse_one(&option, input)?;
            given.push(option);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        match given.iter().find(|option| *option == "err") {
            Some(err) if given.iter().any(|option| option == "ignore_err") => Err(Error::new(
                err.span(),
                "`err` and `ignore_err` exclude each other",
            )),
            _ => Ok(options),
        }
    }
}

impl Options {
    fn parse_one(&mut self, option: &Ident, input: ParseStream<'_>) -> Result<()> {
        match option.to_string().as_str() {
            "name" => self.name = Some(name(input)?),
            "namespace" => self.namespace = Some(namespace(input)?),
            "annotate" => self.annotate = arguments(input)?,
            "metadata" => self.metadata = arguments(input)?,
            "err" => self.errors = Errors::Always,
            "ignore_err" => self.errors = Errors::Never,
            "crate" => {
                input.parse::<Token![=]>()?;
                self.krate = Some(input.call(Path::parse_mod_style)?);
            }
            _ => return Err(unknown(option.span())),
        }
        Ok(())
    }
}

fn name(input: ParseStream<'_>) -> Result<LitStr> {
    input.parse::<Token![=]>()?;
    let name: LitStr = input.parse()?;
    if name.value().trim().is_empty() {
        return Err(Error::new(name.span(), "a subsegment needs a name"));
    }
    Ok(name)
}

fn namespace(input: ParseStream<'_>) -> Result<Namespace> {
    input.parse::<Token![=]>()?;
    let namespace: LitStr = input.parse()?;
    match namespace.value().as_str() {
        "aws" => Ok(Namespace::Aws),
        "remote" => Ok(Namespace::Remote),
        _ => Err(Error::new(
            namespace.span(),
            "a namespace is \"aws\" or \"remote\"",
        )),
    }
}

fn arguments(input: ParseStream<'_>) -> Result<Vec<Ident>> {
    let list;
    parenthesized!(list in input);
    let names = Punctuated::<Ident, Token![,]>::parse_terminated_with(&list, Ident::parse_any)?;
    Ok(names.into_iter().collect())
}

fn unknown(span: Span) -> Error {
    Error::new(
        span,
        "no such option; there are `name = \"..\"`, `annotate(..)`, `metadata(..)`, \
         `namespace = \"..\"`, `err`, `ignore_err` and `crate = path`",
    )
}
