//! The result as JSON, and as a table for people.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::meter::{Distribution, Meter, Usage};
use crate::options::Options;
use crate::run::Counts;

/// Beyond these the figures are the generator's, not the gateway's.
const MAX_OWN_LOAD: f64 = 0.85;
const MAX_LATENESS_MS: f64 = 5.0;

pub(crate) struct Outcome {
    pub(crate) meter: Meter,
    pub(crate) counts: Counts,
    /// Calls up through the whole window.
    pub(crate) up: usize,
    pub(crate) seconds: f64,
    /// Before the first call, at the beginning and at the end of the window.
    pub(crate) gateway: (Usage, Usage, Usage),
    pub(crate) own: (Usage, Usage),
}

impl Outcome {
    /// Whether every call was carried and no audio went astray.
    pub(crate) fn is_sound(&self) -> bool {
        self.counts.failed == 0 && self.counts.dropped == 0 && self.meter.crossed == 0
    }

    pub(crate) fn json(&mut self, options: &Options) -> Value {
        let (idle, before, after) = &self.gateway;
        let cpu = (after.seconds() - before.seconds()) / self.seconds;
        let own = (self.own.1.seconds() - self.own.0.seconds()) / self.seconds;
        // In set-up mode calls come and go: their share of processor and memory is not a figure.
        let calls = (options.setups.is_none() && self.up > 0).then_some(self.up as f64);
        let set_up = options.setups.map(|_| cpu * self.seconds / (self.counts.answered.max(1)) as f64);
        let grown = after.resident_kb.saturating_sub(idle.resident_kb) as f64;
        let threads: Vec<Value> = after
            .by_thread_since(before)
            .into_iter()
            .take(6)
            .map(|(name, seconds)| json!({"name": name, "cpu_pct": percent(seconds / self.seconds)}))
            .collect();
        let meter = &mut self.meter;
        let lateness = meter.lateness.quantiles([0.5, 0.99, 1.0]);
        let limited = own > MAX_OWN_LOAD || lateness.is_some_and(|[_, p99, _]| p99 > MAX_LATENESS_MS);
        json!({
            "label": options.label,
            "mode": if options.setups.is_some() { "set-ups" } else { "steady" },
            "window_s": round(self.seconds, 2),
            "calls": {
                "asked": self.counts.asked, "answered": self.counts.answered, "up": self.up,
                "failed": self.counts.failed, "dropped": self.counts.dropped,
                "statuses": self.counts.statuses.iter().map(|(s, n)| (s.to_string(), json!(n))).collect::<serde_json::Map<_, _>>(),
                "retransmitted": self.counts.retransmitted,
                "per_second": options.setups.map(|_| round(self.counts.answered as f64 / self.seconds, 1)),
            },
            "frames": {
                "sent": meter.sent, "lost_to_engine": meter.lost_up, "lost": meter.lost,
                "loss_pct": percent(meter.lost as f64 / meter.sent.max(1) as f64),
                "crossed": meter.crossed, "strange": meter.strange, "packets_back": self.counts.packets_back,
            },
            "to_engine_ms": quantiles(&mut meter.up),
            "from_engine_ms": quantiles(&mut meter.down),
            "round_trip_ms": quantiles(&mut meter.round_trip),
            "set_up_ms": quantiles(&mut meter.set_up),
            "first_audio_ms": quantiles(&mut meter.first_audio),
            "gateway": {
                "watched": options.watch.is_some(),
                "cpu_pct": percent(cpu),
                "cpu_pct_per_100_calls": calls.map(|calls| percent(cpu / calls * 100.0)),
                "cpu_ms_per_set_up": set_up.map(|seconds| round(seconds * 1000.0, 2)),
                "threads": threads,
                "rss_mb_idle": round(idle.resident_kb as f64 / 1024.0, 1),
                "rss_mb": round(after.resident_kb as f64 / 1024.0, 1),
                "rss_kb_per_call": calls.map(|calls| round(grown / calls, 0)),
            },
            "generator": {
                "cpu_pct": percent(own),
                "late_ms": lateness.map(|[p50, p99, max]| json!({"p50": p50, "p99": p99, "max": max})),
                "is_the_limit": limited,
            },
        })
    }
}

fn quantiles(values: &mut Distribution) -> Value {
    let count = values.len();
    match values.quantiles([0.5, 0.99, 0.999, 1.0]) {
        Some([p50, p99, p999, max]) => {
            let [p50, p99, p999, max] = [p50, p99, p999, max].map(|value| round(value, 2));
            json!({"count": count, "p50": p50, "p99": p99, "p99.9": p999, "max": max})
        }
        None => json!({"count": 0}),
    }
}

fn percent(share: f64) -> f64 {
    round(share * 100.0, 3)
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// The same for people.
pub(crate) fn table(result: &Value) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<18} {value}");
    };
    let spread = |key: &str| {
        let part = &result[key];
        if part["count"] == 0 {
            return "-".to_owned();
        }
        format!("p50 {} ms, p99 {} ms, worst {} ms", part["p50"], part["p99"], part["max"])
    };
    let (calls, frames) = (&result["calls"], &result["frames"]);
    let (gateway, generator) = (&result["gateway"], &result["generator"]);
    row(
        "calls",
        format!(
            "{} up of {} asked; {} failed, {} dropped",
            calls["up"], calls["asked"], calls["failed"], calls["dropped"]
        ),
    );
    if !calls["per_second"].is_null() {
        row("set-ups a second", calls["per_second"].to_string());
    }
    row(
        "frame loss",
        format!(
            "{} % ({} of {}; {} before the engine)",
            frames["loss_pct"], frames["lost"], frames["sent"], frames["lost_to_engine"]
        ),
    );
    row("crossed audio", frames["crossed"].to_string());
    row("phone to engine", spread("to_engine_ms"));
    row("engine to phone", spread("from_engine_ms"));
    row("round trip", spread("round_trip_ms"));
    row("set-up", spread("set_up_ms"));
    row("first audio", spread("first_audio_ms"));
    if gateway["watched"] == true {
        row(
            "gateway",
            format!(
                "{} % of a core, {} % per 100 calls; {} MB, {} kB a call",
                gateway["cpu_pct"],
                gateway["cpu_pct_per_100_calls"],
                gateway["rss_mb"],
                gateway["rss_kb_per_call"]
            ),
        );
        for thread in gateway["threads"].as_array().into_iter().flatten() {
            row("", format!("{} {} %", thread["name"].as_str().unwrap_or_default(), thread["cpu_pct"]));
        }
    }
    let limit = if generator["is_the_limit"] == true { "; THE GENERATOR IS THE LIMIT" } else { "" };
    row(
        "generator",
        format!(
            "{} % of a core, late by p99 {} ms{limit}",
            generator["cpu_pct"], generator["late_ms"]["p99"]
        ),
    );
    text
}
