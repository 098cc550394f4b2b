//! The messages: what they mean, the name of their schema, their AMQP properties, and an example of each.

use super::examples;
use crate::{
    domain::{command::CommandKind, event::EventType},
    rabbit::{message::CLOUD_EVENT, publisher::NOTIFICATION_KEY, wire::notification},
};
use serde_json::{Map, Value, json};

/// A message is named by its routing key.
pub const NOTIFICATION: &str = NOTIFICATION_KEY;
pub const COMMAND_REJECTED: &str = "command.rejected";

/// The messages that others publish.
pub fn inbound() -> [&'static str; 3] {
    let [payment, refund] = CommandKind::ALL.map(CommandKind::routing_key);
    [payment, refund, NOTIFICATION]
}

/// Every message by its name.
pub fn all_messages() -> Value {
    let mut messages = Map::new();
    for kind in CommandKind::ALL {
        messages.insert(kind.routing_key().to_owned(), command(kind));
    }
    messages.insert(NOTIFICATION.to_owned(), received());
    for event in EventType::ALL {
        messages.insert(event.routing_key().to_owned(), event_message(event));
    }
    messages.into()
}

fn command(kind: CommandKind) -> Value {
    let (schema, meaning) = match kind {
        CommandKind::Payment => ("PaymentRequest", "Asks for a payment."),
        CommandKind::Refund => {
            ("RefundRequest", "Asks for a refund: the whole amount of an order that is paid.")
        }
    };
    let properties = json!({"content_type": CLOUD_EVENT, "delivery_mode": 2});
    let example = json!({"name": "sample", "payload": examples::command(kind)});
    let mut message = message(kind.event_type(), meaning, schema, properties, example);
    message["correlationId"] = correlation("/id");
    message
}

fn received() -> Value {
    let properties = json!({"content_type": CLOUD_EVENT, "delivery_mode": 2});
    let meaning = "DOKU's notification, with the headers and the exact body that were signed.";
    let example = json!({"name": "sample", "payload": examples::notification()});
    let mut message = message(notification::EVENT_TYPE, meaning, "NotificationReceived", properties, example);
    let in_snap = json!({"name": "snap", "payload": examples::snap_notification()});
    message["examples"].as_array_mut().into_iter().for_each(|all| all.push(in_snap.clone()));
    message
}

fn event_message(event: EventType) -> Value {
    let mut properties = json!({
        "content_type": CLOUD_EVENT,
        "delivery_mode": 2,
        "message_id": "the event's id",
        "type": event.name(),
    });
    let mut example = json!({"name": "sample", "payload": examples::event(event)});
    let is_of_command = event != EventType::SettlementMatched;
    if is_of_command {
        properties["correlation_id"] = json!("data.command_id; absent if that is null");
        example["headers"] = json!({"traceparent": examples::TRACEPARENT});
    }
    let schema = super::schemas::name_of(event);
    let mut message = message(&event.name(), event.meaning(), &schema, properties, example);
    if is_of_command {
        message["headers"] = json!({"$ref": "#/components/schemas/EventHeaders"});
        message["correlationId"] = correlation("/data/command_id");
    }
    message
}

/// Where the command's id is: what belongs together has the same.
fn correlation(pointer: &str) -> Value {
    json!({"location": format!("$message.payload#{pointer}"), "description": "The command's id."})
}

fn message(name: &str, meaning: &str, schema: &str, properties: Value, example: Value) -> Value {
    json!({
        "name": name,
        "title": name,
        "summary": meaning,
        "contentType": CLOUD_EVENT,
        "payload": {"$ref": format!("#/components/schemas/{schema}")},
        "bindings": {"amqp": {"messageType": name, "bindingVersion": super::channels::BINDING_VERSION}},
        "x-amqp-properties": properties,
        "examples": [example],
    })
}
