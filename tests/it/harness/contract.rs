//! What `jenius-pay asyncapi` says of events, held against every event that a story saw.

use super::broker::Event;
use boon::{Compiler, Draft, SchemaIndex, Schemas};
use jenius_pay::{cli::asyncapi, domain::event::EventType, rabbit::TopologyNames};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::OnceLock};

struct Contract {
    schemas: Schemas,
    /// By routing key.
    events: BTreeMap<&'static str, SchemaIndex>,
}

/// Subscribers are to ignore members that they do not know; here nothing may be told that is not described.
fn close(document: &mut Value) {
    for schema in document["components"]["schemas"].as_object_mut().unwrap().values_mut() {
        if schema["properties"].is_object() {
            schema["additionalProperties"] = json!(false);
        }
    }
}

fn contract() -> &'static Contract {
    static CONTRACT: OnceLock<Contract> = OnceLock::new();
    CONTRACT.get_or_init(|| {
        let mut document = asyncapi::document(&TopologyNames::new("jenius").unwrap());
        close(&mut document);
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        compiler.set_default_draft(Draft::V7);
        compiler.enable_format_assertions();
        compiler.add_resource("file:///asyncapi", document).unwrap();
        let compile = |event: EventType| {
            let key = event.routing_key();
            let place = format!("file:///asyncapi#/components/messages/{key}/payload");
            (key, compiler.compile(&place, &mut schemas).unwrap())
        };
        let events = EventType::ALL.map(compile).into();
        Contract { schemas, events }
    })
}

pub fn check(event: &Event) {
    let contract = contract();
    let schema = contract.events[event.routing_key.as_str()];
    if let Err(fault) = contract.schemas.validate(&event.body, schema) {
        panic!("{}: not as asyncapi says: {fault}\n{:#}", event.routing_key, event.body);
    }
}
