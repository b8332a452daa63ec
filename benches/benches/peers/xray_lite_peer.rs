//! xray-lite. It sends subsegments alone, the segment being Lambda's; each of
//! them twice, when it begins and when it ends, as an independent document,
//! from the calling thread. It has no way to leave an unsampled one out.

use std::collections::HashMap;
use std::hint::black_box;

use xray_lite::{
    Annotation, Context, DaemonClient, Header, Namespace, Subsegment, SubsegmentContext,
};

use crate::measure::{self, Figures};
use crate::sink::Sink;
use crate::work::{Peer, SUBSEGMENT, Values, values};

pub(crate) struct XrayLite(SubsegmentContext<DaemonClient>);

impl XrayLite {
    /// The trace is the environment's, and always the same.
    pub(crate) fn new(sink: &Sink) -> Self {
        let client = DaemonClient::new(sink.address).expect("loopback has a free port");
        let context = SubsegmentContext::from_lambda_env(client);
        Self(context.expect("the environment holds a trace"))
    }
}

impl Peer for XrayLite {
    fn trace(&self, round: u32) {
        for values in values(round) {
            drop(self.0.enter_subsegment(Annotated(values)));
        }
    }

    fn waiting(&self, _: u64) -> u64 {
        0
    }

    fn flush(&self) {}

    fn sent(&self) -> Option<u64> {
        None
    }
}

/// The crate has no setter for annotations, but lets a namespace of one's own
/// fill in the document.
struct Annotated(Values);

impl Namespace for Annotated {
    fn name(&self, _: &str) -> String {
        SUBSEGMENT.to_owned()
    }

    fn update_subsegment(&self, subsegment: &mut Subsegment) {
        if subsegment.in_progress {
            return;
        }
        // Its numbers are usize.
        let count = self.0.count.unsigned_abs() as usize;
        subsegment.annotations = Some(HashMap::from([
            (
                "tenant".to_owned(),
                Annotation::String(self.0.tenant.to_owned()),
            ),
            ("count".to_owned(), Annotation::Number(count)),
            ("cached".to_owned(), Annotation::Bool(self.0.cached)),
        ]));
    }
}

pub(crate) fn parse(calls: u32) -> Figures {
    measure::each(calls, |_| {
        let _ = black_box(black_box(crate::HEADER).parse::<Header>());
    })
}
