//! The document as a whole: who speaks, where, and what jenius-pay receives and sends.

use super::{
    channels, messages,
    messages::{COMMAND_REJECTED, NOTIFICATION},
    schemas,
};
use crate::{
    domain::{
        command::{CommandKind, Outcome},
        event::EventType,
    },
    rabbit::{TopologyNames, wire},
};
use serde_json::{Map, Value, json};

const WHAT_IT_IS: &str = "The asynchronous worker between a merchant's services and DOKU's Jenius Pay. Upstream services \
publish commands, subscribers receive events; all of it is CloudEvents 1.0 in structured mode. What upstream services \
owe: choose and store the id before publishing; publish with confirms and the mandatory flag; publish the same id \
again until an outcome event has come; use a new invoice number for the same cart only after a final event of the \
old one. Working clients are in deploy/clients.";

const WHAT_FOLLOWS: &str = "A first valid one is claimed and sent to DOKU. The same source, id and data again: DOKU is \
not called again on its account, and if the outcome is known its event is published again. The same source and id \
with other data, and what breaks a rule, is rejected by an event. What cannot be read as a command, or is larger than";

/// The AsyncAPI document for the exchanges and queues of this prefix.
pub fn document(names: &TopologyNames) -> Value {
    let messages = messages::all_messages();
    let schemas = schemas::all_schemas();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
            "description": WHAT_IT_IS,
            "license": {"name": env!("CARGO_PKG_LICENSE")},
        },
        "defaultContentType": crate::rabbit::message::CLOUD_EVENT,
        "servers": {"broker": broker()},
        "channels": channels::channels(names),
        "operations": operations(),
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {"user": {
                "type": "userPassword",
                "description": "One broker user for each service.",
            }},
        },
    })
}

fn broker() -> Value {
    json!({
        "host": "{host}:{port}",
        "protocol": "amqps",
        "protocolVersion": "0.9.1",
        "description": "RabbitMQ 3.10 or later.",
        "variables": {
            "host": {"default": "broker.example.com", "description": "Yours."},
            "port": {"default": "5671", "description": "5671 with TLS, 5672 without."},
        },
        "security": [{"$ref": "#/components/securitySchemes/user"}],
    })
}

/// From the viewpoint of jenius-pay.
fn operations() -> Value {
    let mut operations = Map::new();
    for kind in CommandKind::ALL {
        operations.insert(format!("receive.{}", kind.routing_key()), receive_command(kind));
    }
    let receive = json!({
        "action": "receive",
        "channel": channel(NOTIFICATION),
        "title": "Receives a notification",
        "description": "The signature is verified, whatever published it; what is not authentic is \
            dead-lettered, reason not_authentic, and changes nothing.",
        "messages": [message(NOTIFICATION, NOTIFICATION)],
        "bindings": {"amqp": {"ack": true, "bindingVersion": channels::BINDING_VERSION}},
    });
    operations.insert(format!("receive.{NOTIFICATION}"), receive);
    for event in EventType::ALL {
        operations.insert(format!("send.{}", event.routing_key()), send_event(event));
    }
    operations.into()
}

fn receive_command(kind: CommandKind) -> Value {
    let key = kind.routing_key();
    json!({
        "action": "receive",
        "channel": channel(key),
        "title": format!("Receives a {} command", kind.name()),
        "description": format!("{WHAT_FOLLOWS} {} KiB, is dead-lettered, reason malformed, and has no event. Each command \
            has exactly one outcome event: {}.", wire::BODY_BYTES_MAX / 1024, outcomes(kind).join(", ")),
        "messages": [message(key, key)],
        "bindings": {"amqp": {"ack": true, "bindingVersion": channels::BINDING_VERSION}},
        // No reply: generators make a class of its several messages that reads none of them.
        "x-outcomes": outcomes(kind),
    })
}

/// The events of which a command has exactly one.
fn outcomes(kind: CommandKind) -> Vec<&'static str> {
    let settling = |outcome| {
        EventType::ALL.into_iter().find(|e| e.settles() == Some((kind, outcome))).map(EventType::routing_key)
    };
    Outcome::ALL
        .into_iter()
        .filter_map(|outcome| match outcome {
            Outcome::Accepted | Outcome::Declined | Outcome::Unresolved | Outcome::Abandoned => {
                settling(outcome)
            }
            Outcome::Rejected => Some(COMMAND_REJECTED),
        })
        .collect()
}

fn send_event(event: EventType) -> Value {
    let key = event.routing_key();
    json!({
        "action": "send",
        "channel": channel(key),
        "title": format!("Sends the event {key}"),
        "description": "Events of one order are first published in the order of their sequence, at least once; a \
            re-publication may come later. An event that no queue is bound to is dropped by the broker.",
        "messages": [message(key, key)],
        "bindings": {"amqp": {"deliveryMode": 2, "mandatory": false, "bindingVersion": channels::BINDING_VERSION}},
    })
}

fn channel(key: &str) -> Value {
    json!({"$ref": format!("#/channels/{key}")})
}

fn message(channel: &str, key: &str) -> Value {
    json!({"$ref": format!("#/channels/{channel}/messages/{key}")})
}
