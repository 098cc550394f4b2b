//! What the ingress answers: in DOKU's own form a JSON object, in the SNAP form its codes. A code begins with the HTTP
//! status, then the number of the service, then the case.

use crate::{
    domain::signed::{Form, MissingHeader, NotAuthentic},
    flow::ports::ReportOf,
    metric::{self, NotificationRefusal, Received},
};
use axum::{
    http::{
        HeaderValue, StatusCode,
        header::{ALLOW, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// Taken, as DOKU's libraries acknowledge it.
const ORDER_TAKEN: &str = "2005600";
const VIRTUAL_ACCOUNT_TAKEN: &str = "2002500";
const TOKEN_ISSUED: &str = "2007300";
const TOKEN_REFUSED: &str = "4017300";
/// Of every refusal, behind its HTTP status: notifications, no further case.
const NOTIFICATION_REFUSED: &str = "5600";

/// Why a request is not taken.
pub enum NotTaken {
    /// A GET there is no notification.
    AnotherPath {
        is_post: bool,
    },
    AnotherMethod,
    TooLarge,
    /// The body did not come in time.
    TooSlow,
    HeaderMissing(MissingHeader),
    BodyMissing(String),
    NotAuthentic(NotAuthentic),
    BrokerAway,
}

/// It is on the broker.
pub fn taken(form: Form, report_of: ReportOf) -> Response {
    let body = match (form, report_of) {
        (Form::Jenius, _) => json!({}),
        (Form::Snap, ReportOf::Order) => snap(ORDER_TAKEN, "Successful"),
        (Form::Snap, ReportOf::VirtualAccount) => snap(VIRTUAL_ACCOUNT_TAKEN, "Successful"),
    };
    answer(StatusCode::OK, &body)
}

pub fn token_issued(token: &str, life_seconds: u64) -> Response {
    let body = json!({
        "responseCode": TOKEN_ISSUED,
        "responseMessage": "Successful",
        "accessToken": token,
        "tokenType": "Bearer",
        "expiresIn": life_seconds,
        "additionalInfo": "",
    });
    answer(StatusCode::OK, &body)
}

/// Why is nothing for a stranger to learn.
pub fn token_refused() -> Response {
    answer(StatusCode::UNAUTHORIZED, &snap(TOKEN_REFUSED, "Unauthorized. The token request is not authentic"))
}

fn snap(code: &str, message: &str) -> Value {
    json!({ "responseCode": code, "responseMessage": message })
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

impl NotTaken {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::AnotherPath { .. } => StatusCode::NOT_FOUND,
            Self::AnotherMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::HeaderMissing(_) | Self::BodyMissing(_) => StatusCode::BAD_REQUEST,
            Self::NotAuthentic(_) => StatusCode::UNAUTHORIZED,
            Self::BrokerAway => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The answer to a notification of this form, counted.
    pub fn answer(self, form: Form) -> Response {
        if let Some(counted) = self.counted_as() {
            metric::notification_received_by_ingress(counted);
        }
        if let Some(refusal) = self.refusal() {
            metric::notification_refused_by_ingress(refusal);
        }
        self.answer_uncounted(form)
    }

    /// The same for what is no notification.
    pub fn answer_uncounted(self, form: Form) -> Response {
        let status = self.status();
        let body = match form {
            Form::Jenius => json!({ "error": self.reason() }),
            Form::Snap => snap(&format!("{}{NOTIFICATION_REFUSED}", status.as_u16()), &self.reason()),
        };
        let mut response = answer(status, &body);
        if matches!(self, Self::AnotherMethod) {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }

    /// `None` for what was never meant for us.
    fn counted_as(&self) -> Option<Received> {
        match self {
            Self::AnotherPath { .. } | Self::AnotherMethod => None,
            Self::TooLarge | Self::TooSlow | Self::HeaderMissing(_) | Self::BodyMissing(_) => {
                Some(Received::Malformed)
            }
            Self::NotAuthentic(_) => Some(Received::NotAuthentic),
            Self::BrokerAway => Some(Received::Unavailable),
        }
    }

    /// `None` if the fault is ours, and for what asks and reports nothing: probes, `doctor`. A POST to another path may
    /// be a wrong URL in DOKU's back office.
    fn refusal(&self) -> Option<NotificationRefusal> {
        match self {
            Self::AnotherPath { is_post } => is_post.then_some(NotificationRefusal::AnotherPath),
            Self::AnotherMethod => None,
            Self::TooLarge => Some(NotificationRefusal::TooLarge),
            Self::TooSlow => Some(NotificationRefusal::TooSlow),
            Self::HeaderMissing(_) => Some(NotificationRefusal::HeaderMissing),
            Self::BodyMissing(_) => Some(NotificationRefusal::Malformed),
            Self::NotAuthentic(why) => Some((*why).into()),
            Self::BrokerAway => None,
        }
    }

    fn reason(&self) -> String {
        match self {
            Self::AnotherPath { .. } => "no notifications are taken at this path".to_owned(),
            Self::AnotherMethod => "POST is allowed".to_owned(),
            Self::TooLarge => "at most 256 KiB are allowed".to_owned(),
            Self::TooSlow => "the body did not come in time".to_owned(),
            Self::HeaderMissing(which) => which.to_string(),
            Self::BodyMissing(what) => what.clone(),
            // Which of them is nothing for a stranger to learn.
            Self::NotAuthentic(_) => "the signature, the Client-Id or the token is wrong".to_owned(),
            Self::BrokerAway => "not taken: send it again".to_owned(),
        }
    }
}
