//! Who may ask for what: every path of the console with what it needs. A path that is not here does not exist.

use super::assets::{ICON, SCRIPT, STYLE};
use crate::domain::console::Permission;

/// How a path is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// It changes nothing.
    Get,
    Post,
}

/// What a path needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The page is for all.
    Anybody,
    Needs(Permission),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteRule {
    pub path: &'static str,
    pub verb: Verb,
    pub access: Access,
    /// Works though the console only shows.
    pub while_read_only: bool,
}

const fn page(path: &'static str) -> RouteRule {
    let access = Access::Needs(Permission::Look);
    RouteRule { path, verb: Verb::Get, access, while_read_only: true }
}

const fn action(path: &'static str, permission: Permission) -> RouteRule {
    RouteRule { path, verb: Verb::Post, access: Access::Needs(permission), while_read_only: false }
}

/// Every path but those of the style sheet, the script and the icon, which anybody may read.
pub const RULES: &[RouteRule] = &[
    page("/"),
    page("/orders"),
    page("/orders.csv"),
    page("/order"),
    action("/order/customer", Permission::Unmask),
    action("/order/ask", Permission::Operate),
    action("/order/publish", Permission::Operate),
    page("/review"),
    page("/order/decide"),
    action("/order/hold", Permission::Decide),
    action("/order/decide/confirm", Permission::Decide),
    action("/order/decide", Permission::Decide),
    page("/sends"),
    action("/sends/pause", Permission::Operate),
    action("/sends/resume", Permission::Operate),
    page("/dead"),
    action("/dead/look", Permission::Operate),
    page("/dead/group"),
    page("/dead/letter"),
    action("/dead/replay/confirm", Permission::Operate),
    action("/dead/replay", Permission::Operate),
    action("/dead/drop/confirm", Permission::Decide),
    action("/dead/drop", Permission::Decide),
    page("/events"),
    action("/events/publish/confirm", Permission::Operate),
    action("/events/publish", Permission::Operate),
    page("/work"),
    page("/live"),
    page("/live/stream"),
    page("/doctor"),
    action("/doctor/look", Permission::Operate),
    page("/about"),
    page("/settlement"),
    page("/settlement.csv"),
    page("/settlement/batch"),
    page("/settlement/file"),
    action("/settlement/bring", Permission::Settle),
    action("/settlement/match", Permission::Settle),
    action("/settlement/close", Permission::Settle),
    page("/audit"),
    page("/audit.csv"),
    RouteRule { path: "/login", verb: Verb::Get, access: Access::Anybody, while_read_only: true },
    RouteRule { path: "/login/back", verb: Verb::Get, access: Access::Anybody, while_read_only: true },
    RouteRule { path: "/enter", verb: Verb::Get, access: Access::Anybody, while_read_only: true },
    RouteRule { path: "/enter", verb: Verb::Post, access: Access::Anybody, while_read_only: true },
    RouteRule {
        path: "/leave",
        verb: Verb::Post,
        access: Access::Needs(Permission::Look),
        while_read_only: true,
    },
];

/// The rule for a request; `None`: there is no such action.
pub fn rule(path: &str, verb: Verb) -> Option<RouteRule> {
    if verb == Verb::Get && [&STYLE, &SCRIPT, &ICON].iter().any(|asset| asset.path == path) {
        return Some(RouteRule { access: Access::Anybody, ..page("/assets") });
    }
    let known = RULES.iter().find(|rule| rule.path == path && rule.verb == verb).copied();
    // A page that is not there is only shown as such to who may look.
    known.or((verb == Verb::Get).then_some(page("/")))
}
