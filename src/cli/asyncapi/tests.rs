//! The document is the one that is committed, its examples are what the service reads and writes, and its
//! schemas say of a command what the rules say. To write it anew: `JENIUS_WRITE_ASYNCAPI=1 cargo test asyncapi`.

use super::*;
use crate::{
    domain::{
        command::CommandKind,
        document::Document,
        event::EventType,
        reconcile::{Evidence, Step, reconcile},
        validate::{
            self, Code, Rules,
            tests::{allowed, payment_data, refund_data, table, with},
        },
    },
    rabbit::{
        message::CLOUD_EVENT,
        wire::{self, notification},
    },
};
use boon::{Compiler, Draft, SchemaIndex, Schemas};
use serde_json::{Value, json};

/// The schemas of the document, by the names of their messages.
struct Described {
    document: Value,
    compiler: Compiler,
    schemas: Schemas,
}

impl Described {
    fn new() -> Self {
        let document = document(&TopologyNames::new("jenius").unwrap());
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V7);
        compiler.enable_format_assertions();
        compiler.add_resource("file:///asyncapi", document.clone()).unwrap();
        Self { document, compiler, schemas: Schemas::new() }
    }

    fn schema(&mut self, message: &str) -> SchemaIndex {
        let place = format!("file:///asyncapi#/components/messages/{message}/payload");
        self.compiler.compile(&place, &mut self.schemas).unwrap_or_else(|e| panic!("{place}: {e:#}"))
    }

    fn fault(&mut self, message: &str, payload: &Value) -> Option<String> {
        let schema = self.schema(message);
        self.schemas.validate(payload, schema).err().map(|e| e.to_string())
    }

    fn example(&self, message: &str) -> Value {
        self.document["components"]["messages"][message]["examples"][0]["payload"].clone()
    }
}

#[test]
fn the_committed_document_is_what_the_code_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/asyncapi.yaml");
    let text = yaml::write(&document(&TopologyNames::new("jenius").unwrap())).unwrap();
    if std::env::var_os("JENIUS_WRITE_ASYNCAPI").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(committed == text, "deploy/asyncapi.yaml: JENIUS_WRITE_ASYNCAPI=1 cargo test --lib asyncapi");
}

#[test]
fn every_example_of_a_command_is_accepted() {
    let mut described = Described::new();
    for kind in CommandKind::ALL {
        let example = described.example(kind.routing_key());
        let incoming = wire::read_command(kind, Some(CLOUD_EVENT), example.to_string().as_bytes()).unwrap();
        assert!(incoming.violations.is_empty());
        let judged = match kind {
            CommandKind::Payment => validate::payment(&incoming.data, &rules()),
            CommandKind::Refund => validate::refund(&incoming.data),
        };
        assert!(judged.is_ok(), "{judged:?}");
        assert_eq!(described.fault(kind.routing_key(), &example), None);
    }
}

#[test]
fn the_example_of_a_notification_is_read() {
    let mut described = Described::new();
    let example = described.example("notification.received");
    assert!(notification::read(Some(CLOUD_EVENT), example.to_string().as_bytes()).is_ok());
    assert_eq!(described.fault("notification.received", &example), None);
    let in_snap = super::examples::snap_notification();
    assert!(notification::read(Some(CLOUD_EVENT), in_snap.to_string().as_bytes()).is_ok());
    assert_eq!(described.fault("notification.received", &in_snap), None);
    let mut both = example.clone();
    both["data"]["body_base64"] = json!("e30=");
    assert!(notification::read(None, both.to_string().as_bytes()).is_err());
    assert!(described.fault("notification.received", &both).is_some());
}

#[test]
fn every_example_of_an_event_is_of_its_own_message_alone() {
    let mut described = Described::new();
    for event in EventType::ALL {
        let example = described.example(event.routing_key());
        for message in EventType::ALL {
            let fault = described.fault(message.routing_key(), &example);
            assert_eq!(fault.is_none(), message == event, "{event:?} as {message:?}: {fault:?}");
        }
    }
}

/// Generators make one class of each, named by its title.
#[test]
fn every_schema_has_a_title_of_its_own_and_none_is_put_together_by_all_of() {
    let described = Described::new();
    let schemas = described.document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        assert_eq!(schema["title"], json!(name));
    }
    let text = described.document.to_string();
    for refused in ["\"allOf\"", "\"parameters\"", "\"reply\"", "\":null,\"type\""] {
        assert!(!text.contains(refused), "{refused}");
    }
    for (name, operation) in described.document["operations"].as_object().unwrap() {
        assert_eq!(operation["messages"].as_array().unwrap().len(), 1, "{name}");
    }
    for event in EventType::ALL {
        let name = schemas::name_of(event);
        assert_eq!(schemas[&name]["properties"]["type"]["const"], json!(event.name()));
        let payload = &described.document["components"]["messages"][event.routing_key()]["payload"];
        assert_eq!(payload, &json!({"$ref": format!("#/components/schemas/{name}")}));
    }
}

#[test]
fn a_schema_in_a_file_of_its_own_says_what_the_document_says() {
    let described = Described::new();
    let names =
        [CommandKind::Payment.routing_key(), CommandKind::Refund.routing_key(), "notification.received"];
    let names: Vec<&str> = names.into_iter().chain(EventType::ALL.map(EventType::routing_key)).collect();
    for (schema, message) in schemas::messages().iter().zip(&names) {
        let alone = schemas::alone(schema);
        assert_eq!(alone["title"], json!(schema));
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource("file:///alone", alone).unwrap();
        let mut compiled = Schemas::new();
        let alone =
            compiler.compile("file:///alone", &mut compiled).unwrap_or_else(|e| panic!("{schema}: {e:#}"));
        for other in &names {
            let taken = compiled.validate(&described.example(other), alone).is_ok();
            assert_eq!(taken, other == message, "{other} as {schema}");
        }
    }
}

/// An example that cannot happen would teach something wrong.
#[test]
fn every_example_of_an_event_is_a_move_of_the_table() {
    let described = Described::new();
    let states = crate::domain::order::OrderState::ALL;
    for event in EventType::ALL {
        let data = described.example(event.routing_key())["data"].clone();
        let happens = states.into_iter().filter(|s| data["previous_state"] == s.name()).any(|from| {
            Evidence::ALL.into_iter().any(|evidence| match reconcile(from, evidence) {
                Step::Move(to, events) => {
                    events.contains(&event) && (events.len() > 1 || data["state"] == to.name())
                }
                _ => false,
            })
        });
        assert!(
            happens
                || data.get("errors").is_some()
                || data.get("batch").is_some()
                || data["evidence"] == "operator",
            "{event:?}: {data}"
        );
    }
}

fn rules() -> Rules {
    Rules { notification_path: "/payments/notifications".to_owned(), production: true }
}

/// As it would be read from JSON.
fn value(document: &Document) -> Value {
    match document {
        Document::Null => Value::Null,
        Document::Bool(value) => json!(value),
        Document::Integer(value) => i64::try_from(*value).map_or_else(|_| json!(*value as f64), |v| json!(v)),
        Document::Float(value) => json!(value),
        Document::String(text) => json!(text),
        Document::Array(items) => items.iter().map(self::value).collect(),
        Document::Object(members) => members.iter().map(|(name, v)| (name.clone(), self::value(v))).collect(),
    }
}

/// The rules that a schema cannot say: sums, the configured path, and that 1.0 is no integer.
fn is_beyond_a_schema(field: &str, case: &Option<Document>, code: Code) -> bool {
    match code {
        Code::SumMismatch => true,
        Code::OutOfRange => field == "additional_info.settlement",
        Code::NotAllowed => field == "additional_info.override_notification_url",
        Code::InvalidFormat => {
            matches!(case, Some(Document::String(text)) if text.starts_with("http://another."))
        }
        Code::InvalidCharacters => field == "additional_info.note",
        Code::WrongType => field.ends_with(".price") && *case == Some(Document::Float(-0.0)),
        _ => false,
    }
}

#[test]
fn the_schemas_refuse_what_the_rules_refuse_but_for_what_no_schema_can_say() {
    let mut described = Described::new();
    let tables = [
        (CommandKind::Payment, payment_data(), table::of_payments()),
        (CommandKind::Refund, refund_data(), table::of_refunds()),
    ];
    for (kind, good, rows) in tables {
        for (field, cases) in rows {
            for (case, code) in cases {
                let mut command = described.example(kind.routing_key());
                command["data"] = value(&with(good.clone(), field, case.clone()));
                let fault = described.fault(kind.routing_key(), &command);
                let expected = !is_beyond_a_schema(field, &case, code);
                assert_eq!(fault.is_some(), expected, "{field} = {case:?}, {code:?}: {fault:?}");
            }
        }
    }
}

#[test]
fn the_schema_takes_what_the_rules_allow() {
    let mut described = Described::new();
    for (field, case) in allowed() {
        let mut command = described.example("payment.request");
        command["data"] = value(&with(payment_data(), field, case.clone()));
        assert_eq!(described.fault("payment.request", &command), None, "{field} = {case:?}");
    }
}

#[test]
fn the_schema_and_the_reader_agree_on_the_envelope() {
    let mut described = Described::new();
    for (name, written, good) in [
        ("specversion", json!("0.3"), false),
        ("specversion", json!(1.0), false),
        ("type", json!("jenius.refund.request.v1"), false),
        ("id", Value::Null, false),
        ("id", json!("x".repeat(129)), false),
        ("id", json!("x".repeat(128)), true),
        ("id", json!("a b"), false),
        ("source", json!(""), false),
        ("source", json!("/ä/{"), false),
        ("source", json!("/ä\u{feff}"), true),
        ("source", json!("/\u{2028}"), false),
        ("source", json!("/\u{85}"), false),
        ("source", json!("x".repeat(256)), false),
        ("expirytime", json!("tomorrow"), false),
        ("expirytime", json!("2026-01-31T17:00:00+07:00"), true),
        ("expirytime", Value::Null, true),
        ("time", json!("yesterday"), false),
        ("time", json!("2026-01-31T17:00:00Z"), true),
        ("subject", json!(""), false),
        ("subject", json!(7), false),
        ("dataschema", json!(""), false),
        ("datacontenttype", json!("text/xml"), false),
        ("datacontenttype", json!("json"), false),
        ("datacontenttype", json!("application/jsonp"), false),
        ("datacontenttype", json!("application/json; charset=utf-8"), true),
        ("datacontenttype", json!("application/vnd.shop+JSON"), true),
        ("datacontenttype", Value::Null, true),
        ("merchant", Value::Null, true),
        ("anything", json!([]), true),
    ] {
        let mut command = described.example("payment.request");
        command[name] = written.clone();
        let read = wire::read_command(CommandKind::Payment, None, command.to_string().as_bytes());
        assert_eq!(read.is_ok_and(|incoming| incoming.violations.is_empty()), good, "{name} = {written}");
        assert_eq!(described.fault("payment.request", &command).is_none(), good, "{name} = {written}");
    }
}
