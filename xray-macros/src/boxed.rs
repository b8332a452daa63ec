//! A body that ends with `Box::pin(async move { .. })`.
//!
//! `#[async_trait]` writes an `async fn` like that, as some people do by hand.
//! The attribute below it is to trace the run of the inner block.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::quote_spanned;

/// The tokens round the inner block.
pub(crate) struct Boxed {
    /// From the beginning of the body to the last `pin`.
    before: TokenStream,
    /// The arguments of `pin`.
    arguments: Group,
}

impl Boxed {
    /// Takes the inner block out of a body; `None` if the body has another end.
    pub(crate) fn split(body: &TokenStream) -> Option<(Self, Group)> {
        let mut before: Vec<TokenTree> = body.clone().into_iter().collect();
        let TokenTree::Group(arguments) = before.pop()? else {
            return None;
        };
        let inner = async_block(&arguments)?;
        let mut words = before.iter().rev();
        let path = ["pin", ":", ":", "Box"];
        path.iter()
            .all(|word| words.next().is_some_and(|token| token.to_string() == *word))
            .then(|| {
                let before = before.into_iter().collect();
                (Self { before, arguments }, inner)
            })
    }

    /// Puts a block back in the place of the inner one.
    pub(crate) fn join(&self, inner: &TokenStream) -> TokenStream {
        let span = self.arguments.span();
        let before = &self.before;
        quote_spanned! { span => #before(async move { #inner }) }
    }
}

/// The block of `(async move { .. })`. One that borrows is left alone: it could
/// not leave its function but for `'static` borrows.
fn async_block(arguments: &Group) -> Option<Group> {
    let mut tokens = arguments.stream().into_iter();
    let words = [tokens.next()?, tokens.next()?].map(|word| word.to_string());
    match (tokens.next()?, tokens.next()) {
        (TokenTree::Group(block), None)
            if words == ["async", "move"] && block.delimiter() == Delimiter::Brace =>
        {
            Some(block)
        }
        _ => None,
    }
}
