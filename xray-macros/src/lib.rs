//! The attribute [`macro@subsegment`]. Use it as `xray_core::subsegment`, under
//! the feature `macros` of `xray-core`.

mod boxed;
mod expand;
mod function;
mod options;

/// Runs a function as a subsegment of what is current when it is called.
///
/// ```
/// # use xray_core::subsegment;
/// #[subsegment]
/// fn price(items: u32) -> u32 {
///     items * 5
/// }
///
/// let (recorder, capture) = xray_core::Recorder::capture("shop");
/// recorder.begin_segment("shop").run(|| price(3));
/// assert_eq!(capture.documents()[0].subsegments[0].name, "price");
/// ```
///
/// In the body, `xray_core::current()` is the subsegment. A panic is recorded
/// as a fault with its message and goes on.
///
/// The attribute stands on free functions, methods, and functions with a body
/// in traits, synchronous or `async`. The compiler refuses it on
/// a `const fn`, and on a function that returns a future, unless the body ends
/// with `Box::pin(async move { .. })`. The body becomes that of a closure or an
/// async block: below `#[track_caller]` it sees itself as the caller.
///
/// ```compile_fail
/// # use xray_core::subsegment;
/// #[subsegment]
/// const fn price(items: u32) -> u32 {
///     items * 5
/// }
/// ```
///
/// # Options
///
/// | option | meaning |
/// |---|---|
/// | `name = "load cart"` | the subsegment's name; that of the function by default |
/// | `annotate(user, count)` | records these arguments as annotations |
/// | `metadata(cart)` | records these arguments as metadata |
/// | `namespace = "remote"` | what the name stands for: `"remote"` or `"aws"`; work of this process by default |
/// | `err` | records an `Err` though the return type is not called `Result` |
/// | `ignore_err` | records no `Err` |
/// | `crate = path` | where `xray_core` is found; `::xray_core` by default |
///
/// # Arguments
///
/// None is recorded unless it is named. They are read before the body runs,
/// and only if the subsegment is recorded. Any name the parameters bind will
/// do, `self` and the parts of a pattern too; it is the key.
///
/// An annotation is made of a clone (of a `String`, of a reference), which has
/// to be `Into<AnnotationValue>`. Metadata takes
/// whatever is `Serialize`. What is to be computed first is written in the
/// body: `xray_core::current().annotate("items", cart.items.len())`.
///
/// ```
/// # use xray_core::subsegment;
/// #[derive(serde::Serialize)]
/// struct Cart {
///     items: Vec<String>,
/// }
///
/// #[subsegment(name = "check out", annotate(user), metadata(cart))]
/// fn check_out(user: &str, cart: Cart, card_number: &str) -> usize {
///     cart.items.len()
/// }
///
/// let (recorder, capture) = xray_core::Recorder::capture("shop");
/// let cart = Cart { items: vec!["tea".into()] };
/// recorder.begin_segment("shop").run(|| check_out("ann", cart, "4111"));
///
/// let documents = capture.documents();
/// let subsegment = &documents[0].subsegments[0];
/// assert_eq!(subsegment.name, "check out");
/// assert_eq!(subsegment.annotations["user"], "ann");
/// assert_eq!(subsegment.metadata["default"]["cart"]["items"][0], "tea");
/// ```
///
/// # Errors
///
/// Where the return type is called `Result` (`io::Result<T>` and
/// `anyhow::Result<T>` too), an `Err` is recorded as a fault, with its sources.
/// The error is to be a `std::error::Error`, an `anyhow::Error` or a boxed
/// error; for any other there is `ignore_err`, for an alias of another name
/// `err`.
///
/// ```
/// # use xray_core::subsegment;
/// #[subsegment]
/// fn parse(text: &str) -> Result<u32, std::num::ParseIntError> {
///     let number: u32 = text.parse()?;
///     Ok(number)
/// }
///
/// let (recorder, capture) = xray_core::Recorder::capture("shop");
/// recorder.begin_segment("shop").run(|| parse("many")).unwrap_err();
///
/// let documents = capture.documents();
/// assert!(documents[0].subsegments[0].fault);
/// ```
///
/// One that is handed up through several such functions is written once.
///
/// A text is no error, so this does not compile:
///
/// ```compile_fail,E0277
/// # use xray_core::subsegment;
/// #[subsegment]
/// fn check(age: u8) -> Result<(), String> {
///     Err(format!("{age} is too young"))
/// }
/// ```
///
/// and this does:
///
/// ```
/// # use xray_core::subsegment;
/// #[subsegment(ignore_err)]
/// fn check(age: u8) -> Result<(), String> {
///     Err(format!("{age} is too young"))
/// }
/// ```
///
/// # Async functions
///
/// The subsegment begins when the function's future is first polled, as its
/// body does: what is current then is its parent, so a future that is spawned
/// needs `TraceExt::in_current`. (At its call an `async fn` runs nothing, so
/// that it cannot see what is current there; `work().subsegment("work")` does.) It ends with the
/// body. Dropped before that it is an error of type `Cancelled`; a future that
/// was never polled leaves nothing. The future is `Send` if it was without the
/// attribute.
///
/// ```
/// # use xray_core::subsegment;
/// #[subsegment(namespace = "remote", name = "stock.example.com", annotate(item))]
/// async fn in_stock(item: &str) -> std::io::Result<bool> {
///     Ok(item == "tea")
/// }
/// # let (recorder, capture) = xray_core::Recorder::capture("shop");
/// # let segment = recorder.begin_segment("shop");
/// # let work = std::pin::pin!(segment.scope(in_stock("tea")));
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(matches!(work.poll(&mut cx), std::task::Poll::Ready(Ok(true))));
/// # segment.close();
/// # let subsegment = &capture.documents()[0].subsegments[0];
/// # assert_eq!(subsegment.namespace.as_deref(), Some("remote"));
/// # assert_eq!(subsegment.annotations["item"], "tea");
/// ```
///
/// # Methods of an `#[async_trait]`
///
/// `#[async_trait]` turns an `async fn` into a function that returns a boxed
/// future. The attribute goes on the method, inside, and traces the run of that
/// future as it does for an `async fn`. tonic's services are written so. A
/// function written like that by hand is traced in the same way; it does not
/// compile with a `return` before the boxed future, which would leave untraced.
///
/// ```
/// # use async_trait::async_trait;
/// # use xray_core::subsegment;
/// # #[async_trait]
/// # trait Stock {
/// #     async fn count(&self, item: &str) -> std::io::Result<u32>;
/// # }
/// # struct Shelf;
/// #[async_trait]
/// impl Stock for Shelf {
///     #[subsegment(annotate(item))]
///     async fn count(&self, item: &str) -> std::io::Result<u32> {
///         Ok(item.len() as u32)
///     }
/// }
/// # let (recorder, capture) = xray_core::Recorder::capture("shop");
/// # let segment = recorder.begin_segment("shop");
/// # let work = std::pin::pin!(segment.scope(Shelf.count("tea")));
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(matches!(work.poll(&mut cx), std::task::Poll::Ready(Ok(3))));
/// # segment.close();
/// # assert_eq!(capture.documents()[0].subsegments[0].annotations["item"], "tea");
/// ```
#[proc_macro_attribute]
pub fn subsegment(
    options: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    expand::expand(options.into(), item.into()).into()
}
