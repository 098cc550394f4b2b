//! What operators did, as it is kept.

use super::{schema::refused_by, *};
use crate::{
    domain::action::{Action, ActionKind},
    flow::{
        ports::{ActionFilter, OperatorStore},
        view::ActionPage,
    },
    postgres::{self, record_action},
};

fn action(kind: ActionKind) -> Action {
    Action {
        kind,
        subject: "INV-1".to_owned(),
        merchant: Some("default".to_owned()),
        reason: Some("asked by the shop".to_owned()),
        done_by: Some("ratna".to_owned()),
        detail: None,
    }
}

#[tokio::test]
async fn every_kind_of_action_is_kept_with_who_and_why() {
    on_a_database(|db| async move {
        for kind in ActionKind::ALL {
            record_action(&db.pool, &action(kind)).await.unwrap();
            let kept =
                "SELECT action || ' ' || merchant || ' ' || subject || ' ' || done_by || ': ' || reason
                        FROM operator_actions ORDER BY key DESC LIMIT 1";
            let expected = format!("{} default INV-1 ratna: asked by the shop", kind.name());
            assert_eq!(db.text(kept).await, expected);
        }
    })
    .await;
}

/// Whoever acts must not be stopped by a text that is too long, or by an empty one.
#[tokio::test]
async fn texts_are_kept_as_far_as_there_is_room() {
    on_a_database(|db| async move {
        let long = Some("x\0".repeat(2000));
        let longest =
            Action { reason: long.clone(), done_by: long.clone(), detail: long, ..action(ActionKind::Prune) };
        record_action(&db.pool, &longest).await.unwrap();
        let lengths =
            "SELECT char_length(reason) || ' ' || char_length(done_by) || ' ' || char_length(detail)
                       FROM operator_actions";
        assert_eq!(db.text(lengths).await, "500 300 1000");
        let silent = Action { reason: Some(String::new()), done_by: None, ..action(ActionKind::Prune) };
        record_action(&db.pool, &silent).await.unwrap();
        assert_eq!(db.number("SELECT count(*) FROM operator_actions WHERE reason IS NULL").await, 1);
    })
    .await;
}

#[tokio::test]
async fn actions_are_only_ever_added_to() {
    on_a_database(|db| async move {
        record_action(&db.pool, &action(ActionKind::Pause)).await.unwrap();
        for sql in [
            "UPDATE operator_actions SET reason = 'x'",
            "DELETE FROM operator_actions",
            "TRUNCATE operator_actions",
        ] {
            assert_eq!(refused_by(&db, sql).await, "operator_actions_are_kept", "{sql}");
        }
    })
    .await;
}

#[tokio::test]
async fn actions_and_pauses_that_no_command_makes_are_refused() {
    on_a_database(|db| async move {
        let acted = |columns: &str| format!("INSERT INTO operator_actions (action, subject, {columns}");
        for (sql, constraint) in [
            (acted("detail) VALUES ('guess', 'x', NULL)"), "operator_actions_action_is_known"),
            (acted("detail) VALUES ('pause', '', NULL)"), "operator_actions_subject_is_bounded"),
            (acted("reason) VALUES ('pause', '*', '')"), "operator_actions_reason_is_bounded"),
            (acted("done_by) VALUES ('pause', '*', repeat('x', 301))"), "operator_actions_name_is_bounded"),
            (acted("detail) VALUES ('pause', '*', repeat('x', 1001))"), "operator_actions_detail_is_bounded"),
            (acted("merchant) VALUES ('pause', '*', '')"), "operator_actions_merchant_is_bounded"),
            ("INSERT INTO pauses (scope) VALUES ('Shop')".to_owned(), "pauses_scope_is_all_or_a_merchant"),
            ("INSERT INTO pauses (scope) VALUES ('')".to_owned(), "pauses_scope_is_all_or_a_merchant"),
            ("INSERT INTO pauses (scope, reason) VALUES ('*', '')".to_owned(), "pauses_reason_is_bounded"),
            ("INSERT INTO pauses (scope, paused_by) VALUES ('*', '')".to_owned(), "pauses_name_is_bounded"),
            ("INSERT INTO pauses (scope) VALUES ('*'), ('*')".to_owned(), "pauses_pkey"),
        ] {
            assert_eq!(refused_by(&db, &sql).await, constraint, "{sql}");
        }
        db.execute("INSERT INTO pauses (scope) VALUES ('*'), ('default')").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn no_action_or_decision_is_between_two_pages() {
    on_a_database(|db| async move {
        super::reviews::in_review(&db, "INV-1").await;
        for kind in [ActionKind::Pause, ActionKind::Resume] {
            record_action(&db.pool, &action(kind)).await.unwrap();
        }
        let resolved = db.store.resolve(super::operators::decide(crate::domain::order::Verdict::Paid)).await;
        assert!(matches!(resolved, Ok(crate::flow::ports::Resolved::Done(_))), "{resolved:?}");
        // Two that were written the other way round than their transactions began.
        db.execute(
            "INSERT INTO operator_actions (action, subject, at) VALUES
                 ('prune', 'x', jenius_now() + interval '2 s'), ('restored', 'x', jenius_now() + interval '1 s')",
        )
        .await
        .unwrap();
        let mut found = Vec::new();
        let mut filter = ActionFilter { limit: 1, ..ActionFilter::default() };
        loop {
            let ActionPage { actions, next } = postgres::actions(&db.pool, &filter).await.unwrap();
            assert_eq!(actions.len(), 1);
            found.extend(actions.into_iter().map(|action| action.action));
            filter.before = next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(found, ["restored", "prune", "resolve_order", "resume", "pause"]);
    })
    .await;
}
