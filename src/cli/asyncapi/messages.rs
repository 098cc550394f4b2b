//! The messages: what they mean, their schema, their AMQP properties, and an example of each.

use super::{
    command::{CommandMessage, PaymentData, RefundData},
    examples,
};
use crate::{
    domain::{
        command::CommandKind,
        event::EventType,
        order::{OrderState, Verdict},
        reconcile::{Evidence, Step, reconcile},
    },
    postgres::event_body::{CloudEvent, OrderData, RejectedData, SettledData},
    rabbit::{message::CLOUD_EVENT, publisher::NOTIFICATION_KEY, wire::notification},
};
use schemars::{
    JsonSchema, Schema, SchemaGenerator,
    generate::{Contract, SchemaSettings},
    transform::RecursiveTransform,
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

/// The messages, and the schemas that they refer to.
pub fn components() -> (Value, Value) {
    let mut messages = Map::new();
    for kind in CommandKind::ALL {
        messages.insert(kind.routing_key().to_owned(), command(kind));
    }
    messages.insert(NOTIFICATION.to_owned(), received());
    for event in EventType::ALL {
        messages.insert(event.routing_key().to_owned(), told(event));
    }
    (messages.into(), schemas())
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

fn told(event: EventType) -> Value {
    let mut properties = json!({
        "content_type": CLOUD_EVENT,
        "delivery_mode": 2,
        "message_id": "the event's id",
        "type": event.name(),
    });
    let mut example = json!({"name": "sample", "payload": examples::event(event)});
    let is_of_command = event != EventType::SettlementMatched;
    if is_of_command {
        properties["correlation_id"] = json!("data.command_id; absent where that is null");
        example["headers"] = json!({"traceparent": examples::TRACEPARENT});
    }
    let mut message = message(&event.name(), event.meaning(), schema_of(event), properties, example);
    if is_of_command {
        message["headers"] = json!({"type": "object", "properties": {
            "traceparent": {"type": "string", "description": "W3C Trace Context of the command, where known."},
        }});
        message["correlationId"] = correlation("/data/command_id");
    }
    let mut own = json!({"type": {"const": event.name()}});
    let states = states(event);
    if !states.is_empty() {
        own["data"] = json!({"properties": {"state": {"enum": states}}});
    }
    message["payload"] = json!({"allOf": [
        {"$ref": format!("#/components/schemas/{}", schema_of(event))},
        {"properties": own},
    ]});
    message
}

/// What an order can be after the event, by the table of its moves.
fn states(event: EventType) -> Vec<&'static str> {
    let mut states: Vec<&str> = match event {
        // It takes the place of another event that was published before.
        EventType::OrderResolved => Verdict::ALL.map(|verdict| verdict.state().name()).into(),
        _ => Vec::new(),
    };
    for (from, evidence) in OrderState::ALL.into_iter().flat_map(|s| Evidence::ALL.map(|e| (s, e))) {
        if let Step::Move(to, events) = reconcile(from, evidence)
            && events.contains(&event)
            && !states.contains(&event.state_within(to).name())
        {
            states.push(event.state_within(to).name());
        }
    }
    states
}

/// Where the command's id is: what belongs together has the same.
fn correlation(pointer: &str) -> Value {
    json!({"location": format!("$message.payload#{pointer}"), "description": "The command's id."})
}

fn schema_of(event: EventType) -> &'static str {
    match event {
        EventType::CommandRejected => "CommandRejected",
        EventType::SettlementMatched => "SettlementMatched",
        _ => "OrderEvent",
    }
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

fn schemas() -> Value {
    let [payment, refund] = CommandKind::ALL.map(CommandKind::event_type);
    let mut all = Map::new();
    let read = &mut generator(Contract::Deserialize);
    all.insert("PaymentRequest".to_owned(), typed::<CommandMessage<PaymentData>>(read, payment));
    all.insert("RefundRequest".to_owned(), typed::<CommandMessage<RefundData>>(read, refund));
    all.insert("NotificationReceived".to_owned(), inline::<notification::Event<'_>>(read).into());
    all.extend(read.take_definitions(true));
    let written = &mut generator(Contract::Serialize);
    all.insert("OrderEvent".to_owned(), order_event(written));
    all.insert("CommandRejected".to_owned(), command_rejected(written));
    all.insert("SettlementMatched".to_owned(), settlement_matched(written));
    all.extend(written.take_definitions(true));
    all.into()
}

/// What may be absent is told by who reads and by who writes in two ways.
fn generator(contract: Contract) -> SchemaGenerator {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        settings.contract = contract;
    });
    settings.with_transform(RecursiveTransform(unwrap_lines)).into_generator()
}

/// A comment's line breaks are not the reader's.
fn unwrap_lines(schema: &mut Schema) {
    if let Some(text) = schema.get("description").and_then(Value::as_str).map(|text| text.replace('\n', " "))
    {
        schema.insert("description".to_owned(), text.into());
    }
}

/// An envelope whose `type` is this.
fn typed<T: JsonSchema>(generator: &mut SchemaGenerator, name: &str) -> Value {
    let mut schema: Value = inline::<T>(generator).into();
    schema["properties"]["type"]["const"] = json!(name);
    schema
}

/// Every event of an order has a number, and says of which order it is.
fn order_event(generator: &mut SchemaGenerator) -> Value {
    let mut schema: Value = inline::<CloudEvent<'_, OrderData<'_>>>(generator).into();
    if let Some(required) = schema["required"].as_array_mut() {
        required.extend([json!("subject"), json!("sequence")]);
    }
    schema
}

/// A rejection is no version of an order.
fn command_rejected(generator: &mut SchemaGenerator) -> Value {
    let mut schema: Value = inline::<CloudEvent<'_, RejectedData<'_>>>(generator).into();
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.shift_remove("sequence");
    }
    schema
}

/// A row of DOKU's book is no version of an order, and no command's.
fn settlement_matched(generator: &mut SchemaGenerator) -> Value {
    let mut schema: Value = inline::<CloudEvent<'_, SettledData<'_>>>(generator).into();
    if let Some(properties) = schema["properties"].as_object_mut() {
        ["sequence", "traceparent", "tracestate"]
            .into_iter()
            .for_each(|name| drop(properties.shift_remove(name)));
    }
    if let Some(required) = schema["required"].as_array_mut() {
        required.push(json!("subject"));
    }
    schema
}

fn inline<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(generator);
    for transform in generator.transforms_mut() {
        transform.transform(&mut schema);
    }
    schema
}
