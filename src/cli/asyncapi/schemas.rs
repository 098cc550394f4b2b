//! The JSON Schemas of the messages and of what they are made of. Programs make classes of them: each schema has a name
//! and a title, is flat (no `allOf`), and an event's own says its type and the states that it can tell.

use super::command::{CommandMessage, PaymentData, RefundData};
use crate::{
    domain::{
        command::CommandKind,
        event::{EventType, EvidenceSource},
        order::{OrderState, Verdict},
        reconcile::{Evidence, Step, reconcile},
        validate::Code,
    },
    postgres::event_body::{CloudEvent, OrderData, RejectedData, SettledData},
    rabbit::wire::notification,
};
use schemars::{
    JsonSchema, Schema, SchemaGenerator,
    generate::{Contract, SchemaSettings},
    transform::RecursiveTransform,
};
use serde_json::{Map, Value, json};

/// Where a schema stands in the document.
const PLACE: &str = "#/components/schemas/";
/// Where it stands in a file of its own.
const PLACE_ALONE: &str = "#/definitions/";
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// The name of an event's schema: `payment.accepted` is `PaymentAccepted`.
pub fn name_of(event: EventType) -> String {
    event
        .routing_key()
        .split('.')
        .map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        })
        .collect()
}

/// The names of the schemas that are a whole message.
pub fn messages() -> Vec<String> {
    let received = ["PaymentRequest", "RefundRequest", "NotificationReceived"].map(str::to_owned);
    received.into_iter().chain(EventType::ALL.map(name_of)).collect()
}

/// Every schema by its name, the whole messages first.
pub fn all_schemas() -> Value {
    let [payment, refund] = CommandKind::ALL.map(CommandKind::event_type);
    let mut all = Map::new();
    let read = &mut generator(Contract::Deserialize);
    all.insert("PaymentRequest".to_owned(), typed(inline::<CommandMessage<PaymentData>>(read), payment));
    all.insert("RefundRequest".to_owned(), typed(inline::<CommandMessage<RefundData>>(read), refund));
    all.insert("NotificationReceived".to_owned(), inline::<notification::Event<'_>>(read));
    let written = &mut generator(Contract::Serialize);
    let mut data = Map::new();
    for event in EventType::ALL {
        let (own, own_data) = match event {
            EventType::CommandRejected => command_rejected(written),
            EventType::SettlementMatched => settlement_matched(written),
            _ => order_event(written, event),
        };
        let name = name_of(event);
        let mut own = typed(own, &event.name());
        own["description"] = json!(event.meaning());
        own["properties"]["data"] = json!({"$ref": format!("{PLACE}{name}Data")});
        all.insert(name.clone(), own);
        data.insert(format!("{name}Data"), own_data);
    }
    all.extend(data);
    all.insert("EventHeaders".to_owned(), headers());
    for mut made in [read.take_definitions(true), written.take_definitions(true)] {
        made.retain(|name, _| !["OrderData", "RejectedData", "SettledData"].contains(&name.as_str()));
        all.extend(made);
    }
    all.insert("OrderState".to_owned(), words("What an order is.", OrderState::ALL.map(OrderState::name)));
    all.insert(
        "Evidence".to_owned(),
        words(
            "What the state rests on: DOKU's response, notification or Check Status, or an operator's decision.",
            EvidenceSource::ALL.map(EvidenceSource::name),
        ),
    );
    all.insert("SettlementType".to_owned(), words("What was settled.", ["purchase", "refund"]));
    all.insert("ErrorCode".to_owned(), words("Which rule was broken.", Code::ALL.map(Code::name)));
    for (name, schema) in &mut all {
        name_parts(schema);
        entitle(schema, name);
    }
    all.into()
}

fn words<const N: usize>(meaning: &str, words: [&'static str; N]) -> Value {
    let mut all = words.to_vec();
    all.dedup();
    json!({"type": "string", "description": meaning, "enum": all})
}

/// A part that has no name of its own would be an anonymous class.
fn name_parts(schema: &mut Value) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (name, property) in properties {
        let shared = match name.as_str() {
            "previous_state" => Some("OrderState"),
            "evidence" => Some("Evidence"),
            "type" if property.get("enum").is_some() => Some("SettlementType"),
            "code" if property.get("enum").is_some() => Some("ErrorCode"),
            _ => None,
        };
        if let Some(shared) = shared {
            *property = json!({"$ref": format!("{PLACE}{shared}")});
        }
        let other = property["anyOf"][0]["$ref"].as_str().and_then(|place| place.strip_prefix(PLACE));
        if let Some(title) = other.map(|other| format!("{other}OrNull")) {
            entitle(property, &title);
        }
    }
}

/// A message's schema with all that it refers to, for a file of its own.
pub fn alone(name: &str) -> Value {
    let all = all_schemas();
    let mut schema = json!({"$schema": DRAFT});
    let mut definitions = Map::new();
    let mut wanted = vec![name.to_owned()];
    while let Some(next) = wanted.pop() {
        let text = all[next.as_str()].to_string();
        let refers = text.split(PLACE).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned);
        wanted.extend(refers.filter(|refers| !definitions.contains_key(refers)));
        let moved: Value = text.replace(PLACE, PLACE_ALONE).parse().unwrap_or_default();
        if next == name {
            if let (Value::Object(schema), Value::Object(moved)) = (&mut schema, moved) {
                schema.extend(moved);
            }
        } else {
            definitions.insert(next, moved);
        }
    }
    schema["definitions"] = definitions.into();
    schema
}

/// The title stands first; a program names its class by it.
fn entitle(schema: &mut Value, name: &str) {
    if let Value::Object(members) = schema {
        let mut entitled = Map::new();
        entitled.insert("title".to_owned(), json!(name));
        members.shift_remove("title");
        entitled.extend(std::mem::take(members));
        *members = entitled;
    }
}

/// What may be absent is not the same for the one who reads and the one who writes.
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
fn typed(mut schema: Value, name: &str) -> Value {
    schema["properties"]["type"]["const"] = json!(name);
    schema
}

/// Every event of an order has a number, and says of which order it is. Beside it the schema of its data.
fn order_event(generator: &mut SchemaGenerator, event: EventType) -> (Value, Value) {
    let mut schema = inline::<CloudEvent<'_, OrderData<'_>>>(generator);
    if let Some(required) = schema["required"].as_array_mut() {
        required.extend([json!("subject"), json!("sequence")]);
    }
    let mut data = inline::<OrderData<'_>>(generator);
    data["properties"]["state"]["enum"] = json!(states(event));
    data["properties"]["state"]["title"] = json!(format!("{}State", name_of(event)));
    (schema, data)
}

/// A rejection is no version of an order.
fn command_rejected(generator: &mut SchemaGenerator) -> (Value, Value) {
    let mut schema = inline::<CloudEvent<'_, RejectedData<'_>>>(generator);
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.shift_remove("sequence");
    }
    (schema, inline::<RejectedData<'_>>(generator))
}

/// A row of DOKU's book is no version of an order, and no command's.
fn settlement_matched(generator: &mut SchemaGenerator) -> (Value, Value) {
    let mut schema = inline::<CloudEvent<'_, SettledData<'_>>>(generator);
    if let Some(properties) = schema["properties"].as_object_mut() {
        for name in ["sequence", "traceparent", "tracestate"] {
            properties.shift_remove(name);
        }
    }
    if let Some(required) = schema["required"].as_array_mut() {
        required.push(json!("subject"));
    }
    (schema, inline::<SettledData<'_>>(generator))
}

fn headers() -> Value {
    json!({"type": "object", "description": "The AMQP headers of an event.", "properties": {
        "traceparent": {"type": "string", "description": "W3C Trace Context of the command, where known."},
    }})
}

fn inline<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    let mut schema = T::json_schema(generator);
    for transform in generator.transforms_mut() {
        transform.transform(&mut schema);
    }
    schema.into()
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
