//! A body that ends with `Box::pin(async move { .. })`.
//!
//! `#[async_trait]` writes an `async fn` like that, as some people do by hand.
//! The attribute below it is to trace the run of the inner block.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};
use syn::parse::Parser;
use syn::visit::{self, Visit};
use syn::{Block, ExprAsync, ExprClosure, ExprReturn, Item};

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
        is_box_pin(&before).then(|| {
            let before = before.into_iter().collect();
            (Self { before, arguments }, inner)
        })
    }

    /// A `return` that leaves without the inner block, and so untraced.
    pub(crate) fn early_return(&self) -> Option<Span> {
        let Self { before, .. } = self;
        let statements = Block::parse_within.parse2(quote! { #before() }).ok()?;
        let mut found = Returns::default();
        for statement in &statements {
            found.visit_stmt(statement);
        }
        found.first
    }

    /// Puts a block back in the place of the inner one.
    pub(crate) fn join(&self, inner: &TokenStream) -> TokenStream {
        let span = self.arguments.span();
        let before = &self.before;
        quote_spanned! { span => #before(async move { #inner }) }
    }
}

/// Whether a body ends with `Box::pin(async ..)`, of whatever kind.
pub(crate) fn ends_boxed(body: &TokenStream) -> bool {
    let mut before: Vec<TokenTree> = body.clone().into_iter().collect();
    let Some(TokenTree::Group(arguments)) = before.pop() else {
        return false;
    };
    let first = arguments.stream().into_iter().next();
    first.is_some_and(|word| word.to_string() == "async") && is_box_pin(&before)
}

fn is_box_pin(before: &[TokenTree]) -> bool {
    let mut words = before.iter().rev();
    let path = ["pin", ":", ":", "Box"];
    path.iter()
        .all(|word| words.next().is_some_and(|token| token.to_string() == *word))
}

/// Looks for a `return` of the function itself.
#[derive(Default)]
struct Returns {
    first: Option<Span>,
}

impl<'a> Visit<'a> for Returns {
    fn visit_expr_return(&mut self, found: &'a ExprReturn) {
        self.first.get_or_insert(found.return_token.span);
        visit::visit_expr_return(self, found);
    }

    fn visit_expr_closure(&mut self, _: &'a ExprClosure) {}

    fn visit_expr_async(&mut self, _: &'a ExprAsync) {}

    fn visit_item(&mut self, _: &'a Item) {}
}

/// Reads each of these arguments behind its `let n = n;`, by which
/// `#[async_trait]` moves it into the block: one that is recorded and not used
/// would be called unused.
pub(crate) fn read_moved(block: &Group, names: &[&Ident]) -> Group {
    let mut tokens: Vec<TokenTree> = Vec::new();
    for token in block.stream() {
        tokens.push(token);
        if let Some(name) = moved(&tokens).filter(|name| names.contains(name)) {
            tokens.extend(quote_spanned! { Span::mixed_site() => let _ = &#name; });
        }
    }
    let mut read = Group::new(block.delimiter(), tokens.into_iter().collect());
    read.set_span(block.span());
    read
}

/// The name in a `let n = n;` or `let mut n = n;` at the end of the tokens.
fn moved(tokens: &[TokenTree]) -> Option<&Ident> {
    use TokenTree::{Ident, Punct};
    let [
        ..,
        Ident(word),
        Ident(new),
        Punct(is),
        Ident(old),
        Punct(end),
    ] = tokens
    else {
        return None;
    };
    let is_move = new == old && is.as_char() == '=' && end.as_char() == ';';
    (is_move && (word == "let" || word == "mut")).then_some(new)
}

/// The block of `(async move { .. })`, with or without a comma behind it. One that borrows is left alone: it could
/// not leave its function but for `'static` borrows.
fn async_block(arguments: &Group) -> Option<Group> {
    let mut tokens = arguments.stream().into_iter();
    let words = [tokens.next()?, tokens.next()?].map(|word| word.to_string());
    let block = tokens.next()?;
    let comma = tokens.next().map(|token| token.to_string());
    let is_last = comma.is_none_or(|token| token == ",") && tokens.next().is_none();
    match block {
        TokenTree::Group(block)
            if is_last && words == ["async", "move"] && block.delimiter() == Delimiter::Brace =>
        {
            Some(block)
        }
        _ => None,
    }
}
