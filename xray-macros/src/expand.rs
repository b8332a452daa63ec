//! The function as it is written back.
//!
//! Every function of the core is called by its path, not as a method, so that
//! no trait the user has in scope can come between.
//!
//! An `unsafe fn` keeps its contract; the tests of this workspace have none:
//!
//! ```
//! #[xray_core::subsegment]
//! unsafe fn read(from: *const u8) -> u8 {
//!     unsafe { *from }
//! }
//!
//! #[xray_core::subsegment]
//! async unsafe fn read_async(from: *const u8) -> u8 {
//!     unsafe { *from }
//! }
//!
//! assert_eq!(unsafe { read(&7) }, 7);
//! # let work = std::pin::pin!(unsafe { read_async(&7) });
//! # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
//! # assert_eq!(work.poll(&mut cx), std::task::Poll::Ready(7));
//! ```

use proc_macro2::{Group, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::visit_mut::{self, VisitMut};
use syn::{AttrStyle, Path, Result, Type, parse_quote, parse2};

use crate::boxed::read_moved;
use crate::function::{Argument, Function};
use crate::options::{Errors, Namespace, Options};

/// Expands the attribute; what is wrong becomes a compile error beside the
/// function as it was.
pub(crate) fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    traced(options, item.clone()).unwrap_or_else(|error| {
        let error = error.to_compile_error();
        quote! { #item #error }
    })
}

fn traced(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut function: Function = parse2(item)?;
    let options: Options = parse2(options)?;
    function.check()?;
    if function.boxed.is_some() {
        let recorded: Vec<_> = options.annotate.iter().chain(&options.metadata).collect();
        function.body = read_moved(&function.body, &recorded);
    }

    let krate = options.krate.clone();
    let krate = krate.unwrap_or_else(|| parse_quote! { ::xray_core });
    let begin = begin(&krate, &function, &options);
    let record = record(&krate, &function, &options)?;
    let run = run(&krate, &function, &options);

    let style = |style: fn(&AttrStyle) -> bool| {
        let chosen = function.attributes.iter();
        chosen.filter(move |attribute| style(&attribute.style))
    };
    let outer = style(|style| matches!(style, AttrStyle::Outer));
    let inner = style(|style| !matches!(style, AttrStyle::Outer));
    let visibility = &function.visibility;
    let signature = &function.signature;
    let body = quote_spanned! { Span::mixed_site() =>
        let xray_subsegment = #begin;
        #record
        #run
    };
    let body = match &function.boxed {
        Some(boxed) => boxed.join(&body),
        None => body,
    };
    Ok(quote! {
        #(#outer)*
        #visibility #signature {
            #(#inner)*
            #body
        }
    })
}

fn begin(krate: &Path, function: &Function, options: &Options) -> TokenStream {
    let name = match &options.name {
        Some(name) => name.to_token_stream(),
        None => function
            .signature
            .ident
            .unraw()
            .to_string()
            .to_token_stream(),
    };
    let namespace = match options.namespace {
        None => {
            return quote! { #krate::Entity::begin_subsegment(&#krate::current(), #name) };
        }
        Some(Namespace::Aws) => quote! { #krate::Namespace::Aws },
        Some(Namespace::Remote) => quote! { #krate::Namespace::Remote },
    };
    quote! {
        #krate::SubsegmentBuilder::begin(#krate::SubsegmentBuilder::namespace(
            #krate::Entity::subsegment(&#krate::current(), #name),
            #namespace,
        ))
    }
}

/// Records the arguments that are named.
fn record(krate: &Path, function: &Function, options: &Options) -> Result<TokenStream> {
    let mut record = TokenStream::new();
    for argument in &options.annotate {
        let key = argument.unraw().to_string();
        let here = Span::mixed_site().located_at(argument.span());
        let value = match function.argument(argument)? {
            Argument::String => quote! { &#argument },
            Argument::Other => quote_spanned! { here => ::core::clone::Clone::clone(&#argument) },
        };
        record.extend(quote_spanned! { here =>
            #krate::Entity::annotate(&xray_subsegment, #key, #value);
        });
    }
    for argument in &options.metadata {
        let key = argument.unraw().to_string();
        let here = Span::mixed_site().located_at(argument.span());
        function.argument(argument)?;
        record.extend(quote_spanned! { here =>
            #krate::Entity::metadata(&xray_subsegment, #key, &#argument);
        });
    }
    if record.is_empty() {
        return Ok(record);
    }
    Ok(quote_spanned! { Span::mixed_site() =>
        if #krate::Entity::is_recorded(&xray_subsegment) {
            #record
        }
    })
}

/// Runs the body. Everything it uses is moved into it: what an async function
/// owns is to be `Send`, not `Sync`, and is dropped before the subsegment ends.
fn run(krate: &Path, function: &Function, options: &Options) -> TokenStream {
    let fallible = match (options.errors, function.result()) {
        (Errors::OfResult, found) => found,
        (Errors::Always, found) => Some(found.unwrap_or_else(Span::call_site)),
        (Errors::Never, _) => None,
    };
    let output = function.output().map(nameable);
    let is_async = function.is_async();
    let (body, plain, records_err) = if is_async {
        let body = match (&function.boxed, &output) {
            (Some(_), None) => function.body.clone(),
            (_, output) => with_output(output.as_ref(), &function.body),
        };
        // Blamed if the body's type is wrong.
        let here = Span::mixed_site().located_at(body.span());
        let body = quote_spanned! { here => async move #body };
        (body, quote! { trace }, quote! { try_trace })
    } else {
        let output = output.map_or_else(|| quote! { () }, ToTokens::into_token_stream);
        let body = &function.body;
        let body = quote_spanned! { Span::mixed_site() => move |_| -> #output #body };
        (body, quote! { trace_fn }, quote! { try_trace_fn })
    };
    let trace = match fallible {
        None => quote! { #krate::Subsegment::#plain },
        // Blamed if the error cannot be recorded.
        Some(error) => located(quote! { #krate::Subsegment::#records_err }, error),
    };
    let end = is_async.then(|| quote! { .await });
    quote_spanned! { Span::mixed_site() => #trace(xray_subsegment, #body) #end }
}

/// The same tokens, which the compiler shows at another place.
fn located(tokens: TokenStream, place: Span) -> TokenStream {
    let moved = tokens.into_iter().map(|mut token| {
        token.set_span(token.span().located_at(place));
        token
    });
    moved.collect()
}

/// An async block cannot state its type; a return that never happens does.
fn with_output(output: Option<&Type>, body: &Group) -> Group {
    let output = match output {
        Some(Type::Never(_)) => return body.clone(), // no `Option` of it
        Some(output) => output.to_token_stream(),
        None => quote! { () },
    };
    // In a block of its own, as the body may begin with items; one of ours, or
    // its braces may be called superfluous.
    let here = Span::mixed_site().located_at(body.span());
    let mut inner = body.clone();
    inner.set_span(here);
    let mut group = Group::new(
        body.delimiter(),
        quote_spanned! { Span::mixed_site() =>
            if let ::core::option::Option::Some(never) = ::core::option::Option::None::<#output> {
                return never;
            }
            #inner
        },
    );
    group.set_span(here);
    group
}

/// A return type as it can be written inside a function: with `_` for each
/// `impl Trait`.
fn nameable(output: &Type) -> Type {
    struct Infer;
    impl VisitMut for Infer {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            if let Type::ImplTrait(_) = ty {
                *ty = parse_quote! { _ };
            } else {
                visit_mut::visit_type_mut(self, ty);
            }
        }
    }
    let mut output = output.clone();
    Infer.visit_type_mut(&mut output);
    output
}

#[cfg(test)]
mod tests {
    use proc_macro2::TokenStream;

    use super::{expand, traced};

    /// What the compiler is told.
    fn complaint(options: &str, item: &str) -> String {
        let [options, item] = [options, item].map(|text| text.parse::<TokenStream>().unwrap());
        let error = traced(options.clone(), item.clone())
            .unwrap_err()
            .to_string();
        let expanded = expand(options, item.clone()).to_string();
        assert!(expanded.starts_with(&item.to_string()), "{expanded}");
        assert!(expanded.contains("compile_error"), "{expanded}");
        error
    }

    #[test]
    fn what_cannot_be_traced_is_refused_with_its_reason() {
        assert_eq!(
            complaint("", "const fn f() {}"),
            "a `const fn` cannot be traced: it may run while the program is compiled"
        );
        assert_eq!(
            complaint("", "fn f();"),
            "a function without a body does nothing that could be traced; `#[subsegment]` goes \
             to its implementations"
        );
        for item in ["struct Cart;", "impl Cart {}", "mod cart {}", "let x = 1;"] {
            assert_eq!(
                complaint("", item),
                "`#[subsegment]` goes before a function"
            );
        }
    }

    #[test]
    fn a_function_that_returns_a_future_is_refused() {
        for output in [
            "impl Future<Output = u8>",
            "impl Send + std::future::Future<Output = u8>",
            "Pin<Box<dyn Future<Output = u8> + Send + '_>>",
            "::core::pin::Pin<Box<dyn ::core::future::Future<Output = u8>>>",
            "BoxFuture<'static, u8>",
        ] {
            assert_eq!(
                complaint("", &format!("fn f() -> {output} {{ g() }}")),
                "this function returns a future, and only the making of it would be traced, not \
                 its run; make it an `async fn`, let its body end with \
                 `Box::pin(async move { .. })`, or trace the future itself with \
                 `xray_core::TraceExt::subsegment`"
            );
        }
    }

    #[test]
    fn an_alias_does_not_hide_a_boxed_future() {
        for body in [
            "Box::pin(async { 7 })",
            "let n = 7; std::boxed::Box::pin(async { n }.fuse())",
        ] {
            let error = complaint("", &format!("fn f() -> Boxed<u8> {{ {body} }}"));
            assert!(
                error.starts_with("this function returns a future"),
                "{error}"
            );
        }
        let expanded = traced(
            TokenStream::new(),
            "fn f() -> Pinned<u8> { Box::pin(7) }".parse().unwrap(),
        );
        assert!(expanded.is_ok(), "no future");
    }

    #[test]
    fn a_return_before_a_boxed_future_is_refused() {
        for early in [
            "if n == 0 { return Box::pin(async move { 0 }); }",
            "let n = match n { 0 => return g(), n => n };",
            "return g();",
        ] {
            let item =
                format!("fn f(n: u8) -> Boxed<u8> {{ {early} Box::pin(async move {{ n }}) }}");
            assert_eq!(
                complaint("", &item),
                "this `return` leaves before the future that is traced; move what stands before \
                 `Box::pin(async move { .. })` into its block"
            );
        }
        for inner in [
            "let n = (|| { return n; })();",
            "fn g() -> u8 { return 7; }",
            "let g = async move { return n; };",
        ] {
            let item = format!(
                "fn f(n: u8) -> Boxed<u8> {{ {inner} Box::pin(async move {{ return n; }}) }}"
            );
            assert!(
                traced(TokenStream::new(), item.parse().unwrap()).is_ok(),
                "{inner}"
            );
        }
    }

    #[test]
    fn options_are_checked() {
        let unknown = "no such option; there are `name = \"..\"`, `annotate(..)`, \
                       `metadata(..)`, `namespace = \"..\"`, `err`, `ignore_err` and \
                       `crate = path`";
        for (options, message) in [
            ("nam = \"x\"", unknown),
            ("skip(x)", unknown),
            ("\"x\"", "expected ident"),
            ("name", "expected `=`"),
            ("name = x", "expected string literal"),
            ("name = \" \"", "a subsegment needs a name"),
            (
                "namespace = \"local\"",
                "a namespace is \"aws\" or \"remote\"",
            ),
            ("err, name = \"a\", err", "`err` is given twice"),
            (
                "ignore_err, err",
                "`err` and `ignore_err` exclude each other",
            ),
            ("annotate(x.y)", "expected `,`"),
            ("err ignore_err", "expected `,`"),
        ] {
            assert_eq!(complaint(options, "fn f(x: u8) {}"), message, "{options}");
        }
    }

    #[test]
    fn what_is_recorded_has_to_be_an_argument() {
        let item = "fn order(user: &str, Cart { id, lines: [first, ..] }: Cart) {}";
        for option in ["annotate", "metadata"] {
            for name in ["usr", "lines", "self"] {
                assert_eq!(
                    complaint(&format!("{option}({name})"), item),
                    format!("`order` has no argument called `{name}`")
                );
            }
        }
    }
}
