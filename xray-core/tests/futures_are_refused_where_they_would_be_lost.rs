//! A closure that returns a future is refused where it would be traced without
//! being run, and the compiler names the form that runs it.

#[test]
fn closures_that_return_futures_are_refused() {
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
