use xray_core::{Keep, LocalRules, Recorder};

fn recorder(rules: &str) -> Result<Recorder, Box<dyn std::error::Error>> {
    let recorder = Recorder::builder("shop")
        .sampler(LocalRules::from_json(rules)?)
        .service_version(env!("CARGO_PKG_VERSION"))
        .hook(|document| {
            document.annotations.insert("stage".into(), "prod".into());
            Keep::Send
        })
        .build()?;
    Ok(recorder)
}
