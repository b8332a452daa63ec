//! Arguments are recorded if they are named.

mod common;

use common::{finish, pause, traced};
use serde_json::json;
use xray_core::subsegment;

#[derive(serde::Serialize)]
struct Cart {
    number: u64,
    items: Vec<&'static str>,
}

fn cart() -> Cart {
    Cart {
        number: 7,
        items: vec!["tea"],
    }
}

#[test]
fn only_arguments_that_are_named_are_recorded() {
    #[subsegment(annotate(user, count, plan, r#type, known), metadata(cart, plan))]
    fn order(
        user: &str,
        count: usize,
        plan: String,
        r#type: &String,
        mut known: bool,
        cart: Cart,
        card_number: &str,
    ) -> (String, usize) {
        known = !known;
        let _ = (known, r#type, card_number);
        (plan + user, cart.items.len() + count)
    }
    let (result, subsegments) = traced(|| {
        let kind = "gift".to_owned();
        order("ann", 3, "gold".into(), &kind, true, cart(), "4111")
    });
    assert_eq!(result, ("goldann".to_owned(), 4));
    assert_eq!(
        subsegments,
        json!([{
            "name": "order",
            "annotations": {
                "user": "ann", "count": 3, "plan": "gold", "type": "gift", "known": true,
            },
            "metadata": { "default": { "cart": { "number": 7, "items": ["tea"] }, "plan": "gold" } },
        }])
    );
}

#[test]
fn an_async_function_records_its_arguments_too() {
    #[subsegment(annotate(user), metadata(cart))]
    async fn order(user: String, cart: &Cart) -> String {
        pause().await;
        user + cart.items[0]
    }
    let (result, subsegments) = traced(|| finish(order("ann".into(), &cart())));
    assert_eq!(result, "anntea");
    assert_eq!(
        subsegments,
        json!([{
            "name": "order",
            "annotations": { "user": "ann" },
            "metadata": { "default": { "cart": { "number": 7, "items": ["tea"] } } },
        }])
    );
}

#[test]
fn what_a_pattern_binds_is_an_argument() {
    #[subsegment(annotate(number, second), metadata(all))]
    fn parts(Cart { number, .. }: Cart, (_, second): (u8, u8), all @ [_, _]: [u8; 2]) -> u64 {
        number + u64::from(second) + u64::from(all[0])
    }
    let (result, subsegments) = traced(|| parts(cart(), (1, 2), [3, 4]));
    assert_eq!(result, 12);
    assert_eq!(
        subsegments,
        json!([{
            "name": "parts",
            "annotations": { "number": 7, "second": 2 },
            "metadata": { "default": { "all": [3, 4] } },
        }])
    );
}

#[test]
fn arguments_are_not_touched_where_nothing_is_recorded() {
    struct Fussy;
    impl Clone for Fussy {
        fn clone(&self) -> Self {
            panic!("cloned");
        }
    }
    impl From<Fussy> for xray_core::AnnotationValue<'_> {
        fn from(_: Fussy) -> Self {
            true.into()
        }
    }
    #[subsegment(annotate(fussy))]
    fn work(fussy: Fussy) -> u8 {
        let Fussy = fussy;
        1
    }
    assert_eq!(work(Fussy), 1);
}

#[test]
fn self_is_an_argument() {
    #[derive(serde::Serialize)]
    struct Till {
        open: bool,
    }
    impl Till {
        #[subsegment(metadata(self))]
        fn show(&self) -> bool {
            self.open
        }
    }
    assert_eq!(
        traced(|| Till { open: true }.show()).1,
        json!([{ "name": "show", "metadata": { "default": { "self": { "open": true } } } }])
    );
}
