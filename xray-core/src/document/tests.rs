use super::*;
use serde_json::json;

fn read(text: &str) -> Document {
    Document::from_json(text.as_bytes()).unwrap()
}

/// Leaked `Dummy`, `trace_id` and `parent_id` repeated in what is nested,
/// a length of -1 where it was unknown.
#[test]
fn what_go_writes() {
    let text = r#"{"trace_id":"1-66f2a1c0-0123456789abcdef01234567","id":"70de5b6f19ff9a0a","name":"orders",
        "start_time":1727177152.1234567,"end_time":1727177152.2,"fault":true,
        "http":{"request":{"method":"GET","url":"/orders","client_ip":"203.0.113.9","x_forwarded_for":true},
                "response":{"status":500,"content_length":0}},
        "aws":{"xray":{"sdk_version":"2.0.3","sdk":"X-Ray for Go","sampling_rule_name":"Default"}},
        "service":{"compiler":"gc","compiler_version":"go1.22"},"Dummy":false,
        "cause":{"working_directory":"/app","exceptions":[{"id":"aaaaaaaaaaaaaaaa","type":"errorString","message":"no",
            "stack":[{"path":"main.go","line":42,"label":"main.main"}]}]},
        "subsegments":[{"id":"53995c3f42cd8ad9","name":"DynamoDB","start_time":1727177152.13,"end_time":1727177152.19,
            "namespace":"aws","trace_id":"1-66f2a1c0-0123456789abcdef01234567","parent_id":"70de5b6f19ff9a0a",
            "http":{"response":{"status":200,"content_length":-1}},"aws":{"retries":0},"Dummy":false}]}"#;
    let document = read(text);
    assert_eq!(
        document.other,
        *json!({"Dummy": false}).as_object().unwrap()
    );
    assert_eq!(document.start_time, Some(1727177152.1234567));
    assert_eq!(document.exceptions()[0].stack[0].line, Some(42));
    let http = document.subsegments[0].http.as_ref().unwrap();
    let response = http.response.as_ref().unwrap();
    assert_eq!(
        (response.status, response.content_length),
        (Some(200), None)
    );
    assert_eq!(document.subsegments[0].aws["retries"], 0);
}

/// Spaces, `in_progress` false, namespace `local`, a cause by reference.
#[test]
fn what_python_writes() {
    let text = r#"{"id": "70de5b6f19ff9a0a", "name": "orders", "start_time": 1727177152.123456, "in_progress": false,
        "fault": true, "cause": "aaaaaaaaaaaaaaaa", "annotations": {"tenant": "t-42", "n": 3, "cached": false},
        "metadata": {"default": {"cart": null}}, "trace_id": "1-66f2a1c0-0123456789abcdef01234567",
        "service": {"runtime": "CPython", "runtime_version": "3.12.1"}, "end_time": 1727177152.2,
        "subsegments": [{"id": "53995c3f42cd8ad9", "name": "load", "start_time": 1727177152.13,
            "parent_id": "70de5b6f19ff9a0a", "in_progress": false, "type": "subsegment", "namespace": "local",
            "trace_id": "1-66f2a1c0-0123456789abcdef01234567", "end_time": 1727177152.19,
            "cause": {"working_directory": "/app", "exceptions": [{"id": "aaaaaaaaaaaaaaaa", "message": "m",
                "type": "ValueError", "remote": false, "truncated": 0,
                "stack": [{"path": "app.py", "line": 7, "label": "load"}]}]}}]}"#;
    let document = read(text);
    assert!(!document.in_progress && !document.is_subsegment());
    assert_eq!(document.cause, Some(Cause::Id("aaaaaaaaaaaaaaaa".into())));
    assert_eq!(document.annotations["cached"], false);
    assert_eq!(document.metadata["default"], json!({"cart": null}));
    let nested = document.find("load").unwrap();
    assert!(nested.is_subsegment());
    assert_eq!(nested.namespace.as_deref(), Some("local"));
    assert_eq!(nested.exceptions()[0].truncated, Some(0));
}

/// Chained exceptions, native frames without a line, times as integers.
#[test]
fn what_java_writes() {
    let text = r#"{"id":"70de5b6f19ff9a0a","trace_id":"1-66f2a1c0-0123456789abcdef01234567","name":"orders",
        "start_time":1727177152,"end_time":1.72717715325E9,"error":true,"throttle":true,
        "origin":"AWS::ECS::Container","aws":{"ecs":{"container":"ip-10-0-0-5"},"xray":{"rule_name":"Default"}},
        "cause":{"working_directory":"/app","paths":[],"exceptions":[
            {"id":"aaaaaaaaaaaaaaaa","type":"com.example.OrderException","message":"m","cause":"bbbbbbbbbbbbbbbb",
             "truncated":12,"skipped":1,"remote":true,"stack":[{"path":"Order.java","line":-2,"label":"load"}]},
            {"id":"bbbbbbbbbbbbbbbb","type":"java.io.IOException"}]},
        "http":{"response":{"status":429.0,"content_length":12.0}}}"#;
    let document = read(text);
    assert_eq!(document.duration_seconds(), Some(1.25));
    assert!(document.error && document.throttle && !document.fault);
    let [first, second] = document.exceptions() else {
        panic!("two exceptions");
    };
    assert_eq!(first.cause.as_deref(), Some(second.id.as_str()));
    assert_eq!(
        (first.truncated, first.skipped, first.remote),
        (Some(12), Some(1), true)
    );
    assert_eq!(first.stack[0].line, None);
    let response = document.http.unwrap().response.unwrap();
    assert_eq!(
        (response.status, response.content_length),
        (Some(429), Some(12))
    );
}

/// A cause that is an object with an id, leaked helpers, `traced` outside.
#[test]
fn what_node_writes() {
    let text = r#"{"id":"70de5b6f19ff9a0a","name":"orders","start_time":1727177152.123,"in_progress":true,
        "counter":1,"notTraced":true,"parent_id":null,"user":null,"annotations":null,
        "trace_id":"1-66f2a1c0-0123456789abcdef01234567","fault":true,
        "cause":{"id":"aaaaaaaaaaaaaaaa","exceptions":[]},
        "subsegments":[{"id":"53995c3f42cd8ad9","name":"api.example","start_time":1727177152.13,"namespace":"remote",
            "traced":true,"end_time":1727177152.19,
            "http":{"request":{"url":"https://api.example/","method":"GET"},"response":{"status":"204"}}}]}"#;
    let document = read(text);
    assert!(document.in_progress);
    assert_eq!(document.parent_id, None);
    assert_eq!(document.duration_seconds(), None);
    assert_eq!(
        document.other,
        *json!({"counter": 1, "notTraced": true})
            .as_object()
            .unwrap()
    );
    let Some(Cause::Exceptions(cause)) = &document.cause else {
        panic!("an object");
    };
    assert_eq!(cause.other["id"], "aaaaaaaaaaaaaaaa");
    let call = &document.subsegments[0];
    assert!(call.traced);
    let http = call.http.as_ref().unwrap();
    assert_eq!(http.response.as_ref().unwrap().status, Some(204));
}

#[test]
fn writes_no_nulls_no_false_flags_nothing_empty() {
    let text = r#"{"name":"a","id":"70de5b6f19ff9a0a","start_time":null,"end_time":2,"error":false,"aws":{},
        "subsegments":null,"cause":{"exceptions":[{"id":"aaaaaaaaaaaaaaaa","stack":null,"novel":null}]}}"#;
    assert_eq!(
        serde_json::to_string(&read(text)).unwrap(),
        r#"{"name":"a","id":"70de5b6f19ff9a0a","end_time":2.0,"cause":{"exceptions":[{"id":"aaaaaaaaaaaaaaaa"}]}}"#
    );
    let odd = Document {
        start_time: Some(f64::NAN),
        ..Document::default()
    };
    assert_eq!(
        serde_json::to_string(&odd).unwrap(),
        r#"{"name":"","id":""}"#
    );
}

#[test]
fn writes_in_order_and_reads_back_the_same() {
    let text = concat!(
        r#"{"name":"orders","id":"70de5b6f19ff9a0a","trace_id":"1-66f2a1c0-0123456789abcdef01234567","#,
        r#""parent_id":"53995c3f42cd8ad8","type":"subsegment","start_time":1727177152.123456,"#,
        r#""end_time":1727177152.201001,"error":true,"throttle":true,"fault":true,"cause":"aaaaaaaaaaaaaaaa","#,
        r#""http":{"request":{"method":"GET","url":"u","x_forwarded_for":true}},"namespace":"aws","traced":true,"#,
        r#""aws":{"retries":1},"sql":{"url":"u","preparation":"call"},"annotations":{"a":1.5},"#,
        r#""metadata":{"default":{"x":[null]}},"user":"u","origin":"o","resource_arn":"r","#,
        r#""service":{"version":"1"},"links":[{"trace_id":"t","id":"i"}],"precursor_ids":["p"],"#,
        r#""subsegments":[{"name":"b","id":"c"}],"novel":7}"#
    );
    assert_eq!(serde_json::to_string(&read(text)).unwrap(), text);
}

#[test]
fn walks_parents_first_and_in_order() {
    let document = read(
        r#"{"name":"a","subsegments":[{"name":"b","subsegments":[{"name":"c"}]},{"name":"d"}]}"#,
    );
    let names: Vec<_> = document.walk().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    assert_eq!(document.find("e"), None);
}

#[test]
fn numbers_that_do_not_fit_count_as_absent() {
    for status in ["-1", "70000", "200.5", "true", "[]", r#""ok""#, "1e300"] {
        let text = format!(r#"{{"http":{{"response":{{"status":{status}}}}}}}"#);
        let http = read(&text).http.unwrap();
        assert_eq!(http.response.unwrap().status, None, "{status}");
    }
}
