//! What a PromQL query says, as far as it must be true: which metrics it names, under which function, with which
//! labels and values. Prometheus itself would answer a misspelt one with silence.

use jenius_pay::{
    domain::{
        command::{CommandKind, Outcome},
        event::EventType,
        finding::{AttemptClass, AttemptKind},
        order::OrderState,
        settlement::breaks::Cause,
    },
    metric::{
        self, Blocked, Dependency, DokuOperation, Finished, KeyGeneration, Metric, MetricKind, Oddity,
        Received,
    },
};

/// What Prometheus adds itself.
const ADDED: [&str; 3] = ["le", "instance", "job"];
const OF_COUNTERS: [&str; 2] = ["rate", "increase"];
const OF_HISTOGRAMS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// A metric as a query names it.
struct Selector<'a> {
    name: &'a str,
    function: &'a str,
    matchers: Vec<(&'a str, &'a str)>,
    has_range: bool,
}

/// Everything that is wrong with a query.
pub fn faults(query: &str) -> Vec<String> {
    let selectors = selectors(query);
    let mut faults: Vec<String> = selectors.iter().flat_map(|s| faults_of(s)).collect();
    if selectors.is_empty() {
        faults.push("names no metric of ours".to_owned());
    }
    let known: Vec<&str> =
        selectors.iter().filter_map(|s| metric_of(s.name)).flat_map(|m| m.labels.to_vec()).collect();
    for list in query.split("by (").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        let unknown = list.split(',').map(str::trim).filter(|l| !known.contains(l) && !ADDED.contains(l));
        faults.extend(unknown.map(|label| format!("by ({label}): nothing has that label")));
    }
    faults.into_iter().map(|fault| format!("{query}: {fault}")).collect()
}

fn selectors(query: &str) -> Vec<Selector<'_>> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = query.match_indices("jenius_").map(|(at, _)| at);
    let named = starts.filter(|at| !query[..*at].ends_with(|c| is_word(c) || c == '"'));
    named
        .map(|at| {
            let (before, after) = query.split_at(at);
            let end = after.find(|c| !is_word(c)).unwrap_or(after.len());
            let (name, mut rest) = after.split_at(end);
            let mut matchers = Vec::new();
            if let Some(inside) = rest.strip_prefix('{') {
                let (inside, after) = inside.split_once('}').unwrap();
                matchers = inside.split(',').filter_map(matcher).collect();
                rest = after;
            }
            let called = before.strip_suffix('(').unwrap_or("");
            let function = &called[called.rfind(|c| !is_word(c)).map_or(0, |at| at + 1)..];
            Selector { name, function, matchers, has_range: rest.starts_with('[') }
        })
        .collect()
}

/// `label="value"`, with any of the four signs.
fn matcher(text: &str) -> Option<(&str, &str)> {
    let (label, value) = text.split_once('"')?;
    Some((label.trim().trim_end_matches(['=', '!', '~']), value.trim_end_matches('"')))
}

fn metric_of(name: &str) -> Option<&'static Metric> {
    let is = |m: &&Metric| match m.kind {
        MetricKind::Counter | MetricKind::Gauge => m.name == name,
        MetricKind::Histogram(_) => OF_HISTOGRAMS.iter().any(|end| name.strip_suffix(end) == Some(m.name)),
    };
    metric::all_metrics().iter().find(is)
}

fn faults_of(selector: &Selector<'_>) -> Vec<String> {
    let Selector { name, function, matchers, has_range } = selector;
    let Some(metric) = metric_of(name) else { return vec![format!("{name}: there is no such metric")] };
    let mut faults = Vec::new();
    let is_counted = OF_COUNTERS.contains(function);
    match metric.kind {
        MetricKind::Counter | MetricKind::Histogram(_) if !is_counted || !has_range => {
            faults.push(format!("{name} only grows: it belongs under rate or increase, with a range"));
        }
        MetricKind::Gauge if is_counted => faults.push(format!("{name} is a gauge: not under {function}")),
        MetricKind::Counter | MetricKind::Gauge | MetricKind::Histogram(_) => {}
    }
    for (label, value) in matchers {
        if !metric.labels.contains(label) && !ADDED.contains(label) {
            faults.push(format!("{name} has no label {label}"));
        }
        let known = values(label);
        // What begins with $ is a variable of the dashboard.
        let unknown = value.split('|').filter(|v| !v.starts_with('$') && !known.iter().any(|k| k == v));
        faults.extend(unknown.filter(|_| !known.is_empty()).map(|v| format!("{label} is never {v}")));
    }
    faults
}

/// Every value a label can have; empty where the configuration says.
fn values(label: &str) -> Vec<String> {
    let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    match label {
        "state" => names(OrderState::ALL.map(OrderState::name).to_vec()),
        "event" => names(EventType::ALL.map(EventType::routing_key).to_vec()),
        "class" => names(AttemptClass::ALL.map(AttemptClass::name).to_vec()),
        "outcome" => names(Outcome::ALL.map(Outcome::name).to_vec()),
        "operation" => names(
            [DokuOperation::Payment, DokuOperation::Refund, DokuOperation::Check]
                .map(DokuOperation::name)
                .to_vec(),
        ),
        "disposition" => names(Finished::ALL.map(Finished::name).to_vec()),
        "dependency" => names(Dependency::ALL.map(Dependency::name).to_vec()),
        "blocked" => names(Blocked::ALL.map(Blocked::name).to_vec()),
        "cause" => names(Cause::ALL.map(Cause::name).to_vec()),
        "key" => names(KeyGeneration::ALL.map(KeyGeneration::name).to_vec()),
        "role" => names(vec!["ingress", "reconciler"]),
        "type" => EventType::ALL.map(EventType::name).to_vec(),
        "result" => {
            let all = [&Received::BY_INGRESS[..], &Received::BY_RECONCILER[..]].concat();
            names(all.into_iter().map(Received::name).collect())
        }
        "kind" => {
            let commands = CommandKind::ALL.map(CommandKind::name).to_vec();
            let attempts = AttemptKind::ALL.map(AttemptKind::name).to_vec();
            names([commands, attempts, Oddity::ALL.map(Oddity::name).to_vec()].concat())
        }
        _ => Vec::new(),
    }
}

#[test]
fn planted_faults_are_found_and_good_queries_have_none() {
    for (query, fault) in [
        ("jenius_nothing > 0", "no such metric"),
        ("up == 0", "names no metric of ours"),
        ("sum(jenius_claims_lost_total)", "only grows"),
        ("sum(rate(jenius_claims_lost_total))", "with a range"),
        ("rate(jenius_outbox_events[5m])", "is a gauge"),
        ("rate(jenius_doku_request_seconds[5m])", "no such metric"),
        ("jenius_doku_request_seconds_bucket", "only grows"),
        ("max(jenius_open_orders{stat=\"paid\"})", "has no label stat"),
        ("max(jenius_open_orders{state=\"payed\"})", "state is never payed"),
        ("sum by (kind) (jenius_open_orders)", "nothing has that label"),
    ] {
        let found = faults(query);
        assert!(found.iter().any(|f| f.contains(fault)), "{query}: {fault}: {found:?}");
    }
    for query in [
        "max by (merchant) (jenius_open_orders_oldest_seconds{state=~\"submitting|refunding\"}) > 1",
        "histogram_quantile(0.9, sum by (le) (rate(jenius_doku_request_seconds_bucket{operation=\"check\"}[5m])))",
        "max(abs(jenius_balance_commands{instance=\"a\"})) > 0 and max(deriv(jenius_outbox_events[5m])) > 0",
        "max(jenius_open_orders{merchant=~\"$merchant\",state!=\"$state\"})",
    ] {
        assert_eq!(faults(query), Vec::<String>::new());
    }
}
