//! The function below the attribute, and whether it can be traced.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use syn::parse::{Parse, ParseStream, Parser};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Error, ExprMacro, FnArg, GenericArgument, Pat, PatIdent, PathArguments, Result,
    ReturnType, Signature, Token, Type, TypeParamBound, Visibility,
};

use crate::boxed::{Boxed, ends_boxed};

/// A function with a body. The body is not parsed: it is handed on as it is.
pub(crate) struct Function {
    /// Those before the function and those that its body begins with.
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    /// That of the inner block, where the body makes a boxed future.
    pub(crate) body: Group,
    pub(crate) boxed: Option<Boxed>,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let outer = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let signature: Signature = input
            .parse()
            .map_err(|error| Error::new(error.span(), "`#[subsegment]` goes before a function"))?;
        if input.peek(Token![;]) {
            return Err(Error::new(
                signature.ident.span(),
                "a function without a body does nothing that could be traced; \
                 `#[subsegment]` goes to its implementations",
            ));
        }
        let TokenTree::Group(block) = input.parse()? else {
            return Err(input.error("expected the body of the function"));
        };
        let attributes_and_rest = |body: ParseStream<'_>| {
            let inner = body.call(Attribute::parse_inner)?;
            Ok((inner, body.parse::<TokenStream>()?))
        };
        let (inner, rest) = attributes_and_rest.parse2(block.stream())?;
        let may_be_boxed = match (&signature.asyncness, &signature.output) {
            (None, ReturnType::Type(..)) => true,
            (Some(_), _) | (None, ReturnType::Default) => false,
        };
        let boxed = may_be_boxed.then(|| Boxed::split(&rest)).flatten();
        let (boxed, body) = match boxed {
            Some((boxed, inner)) => (Some(boxed), inner),
            None => {
                let mut body = Group::new(Delimiter::Brace, rest);
                body.set_span(block.span());
                (None, body)
            }
        };
        Ok(Self {
            attributes: outer.into_iter().chain(inner).collect(),
            visibility,
            signature,
            body,
            boxed,
        })
    }
}

impl Function {
    /// Refuses what would measure nothing or the wrong thing.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(constness) = &self.signature.constness {
            return Err(Error::new(
                constness.span,
                "a `const fn` cannot be traced: it may run while the program is compiled",
            ));
        }
        if let Some(early) = self.boxed.as_ref().and_then(Boxed::early_return) {
            return Err(Error::new(
                early,
                "this `return` leaves before the future that is traced; move what stands \
                 before `Box::pin(async move { .. })` into its block",
            ));
        }
        if let (false, Some(output)) = (self.is_async(), self.returned())
            && (future(output).is_some() || ends_boxed(&self.body.stream()))
        {
            return Err(Error::new(
                output.span(),
                "this function returns a future, and only the making of it would be traced, not \
                 its run; make it an `async fn`, let its body end with \
                 `Box::pin(async move { .. })`, or trace the future itself with \
                 `xray_core::TraceExt::subsegment`",
            ));
        }
        Ok(())
    }

    /// Whether the body runs in a future.
    pub(crate) fn is_async(&self) -> bool {
        self.signature.asyncness.is_some() || self.boxed.is_some()
    }

    /// The type of the body, if one is written. An alias of a boxed future hides
    /// it.
    pub(crate) fn output(&self) -> Option<&Type> {
        match (&self.boxed, self.returned()) {
            (Some(_), returned) => future(returned?)?,
            (None, returned) => returned,
        }
    }

    fn returned(&self) -> Option<&Type> {
        match &self.signature.output {
            ReturnType::Default => None,
            ReturnType::Type(_, output) => Some(output),
        }
    }

    /// Where its `Result` names the error, if the return type is called that.
    pub(crate) fn result(&self) -> Option<Span> {
        let Type::Path(path) = bare(self.output()?) else {
            return None;
        };
        let last = path
            .path
            .segments
            .last()
            .filter(|last| last.ident == "Result")?;
        let error = match &last.arguments {
            PathArguments::AngleBracketed(of) => of.args.iter().nth(1),
            _ => None,
        };
        Some(error.map_or(last.ident.span(), Spanned::span))
    }

    /// Finds out how the argument of that name is to be read.
    pub(crate) fn argument(&self, name: &Ident) -> Result<Argument> {
        let mut names = Names::default();
        for input in &self.signature.inputs {
            match input {
                FnArg::Receiver(_) if name == "self" => return Ok(Argument::Other),
                FnArg::Receiver(_) => {}
                FnArg::Typed(typed) => {
                    if let (Pat::Ident(own), Type::Path(path)) = (&*typed.pat, bare(&typed.ty))
                        && own.ident == *name
                        && path
                            .path
                            .segments
                            .last()
                            .is_some_and(|s| s.ident == "String")
                    {
                        return Ok(Argument::String);
                    }
                    names.visit_pat(&typed.pat);
                }
            }
        }
        if names.open || names.bound.contains(name) {
            return Ok(Argument::Other);
        }
        let function = &self.signature.ident;
        Err(Error::new(
            name.span(),
            format!("`{function}` has no argument called `{name}`"),
        ))
    }
}

/// How an argument becomes an annotation.
pub(crate) enum Argument {
    /// By reference.
    String,
    /// By a clone, which may be that of a reference.
    Other,
}

/// The names that patterns bind.
#[derive(Default)]
struct Names {
    bound: Vec<Ident>,
    /// A macro may bind more.
    open: bool,
}

impl<'a> Visit<'a> for Names {
    fn visit_pat_ident(&mut self, binding: &'a PatIdent) {
        self.bound.push(binding.ident.clone());
        visit::visit_pat_ident(self, binding);
    }

    fn visit_expr_macro(&mut self, _: &'a ExprMacro) {
        self.open = true;
    }
}

/// A type without the parentheses, visible or not, that macros put around it.
fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Paren(inner) => bare(&inner.elem),
        Type::Group(inner) => bare(&inner.elem),
        _ => ty,
    }
}

/// Looks for `impl Future`, `Pin<Box<dyn Future>>` and the names `futures` has
/// for it. Returns the output of the future, if one is written.
fn future(ty: &Type) -> Option<Option<&Type>> {
    match bare(ty) {
        Type::ImplTrait(of) => of.bounds.iter().find_map(future_bound),
        Type::TraitObject(of) => of.bounds.iter().find_map(future_bound),
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let inside = types(&last.arguments).next();
            match last.ident.to_string().as_str() {
                "BoxFuture" | "LocalBoxFuture" => Some(inside),
                "Pin" | "Box" => future(inside?),
                _ => None,
            }
        }
        _ => None,
    }
}

fn future_bound(bound: &TypeParamBound) -> Option<Option<&Type>> {
    let TypeParamBound::Trait(of) = bound else {
        return None;
    };
    let last = of.path.segments.last()?;
    let PathArguments::AngleBracketed(of) = &last.arguments else {
        return (last.ident == "Future").then_some(None);
    };
    let output = of.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(output) if output.ident == "Output" => Some(&output.ty),
        _ => None,
    });
    (last.ident == "Future").then_some(output)
}

/// The types between angle brackets.
fn types(arguments: &PathArguments) -> impl Iterator<Item = &Type> {
    let arguments = match arguments {
        PathArguments::AngleBracketed(of) => Some(&of.args),
        _ => None,
    };
    let arguments = arguments.into_iter().flatten();
    arguments.filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}
