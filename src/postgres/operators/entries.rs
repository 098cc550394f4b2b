//! Who may enter the console by an address, and who has entered. Each change is kept with what operators did.

use super::actions;
use crate::{
    domain::{
        action::{Action, ActionKind},
        console::{ConsoleRole, Identified, Person},
    },
    flow::ports::{ConsoleEntry, IdentifiedPerson, KeyHash, NewLogin, SessionView, StoreError},
    postgres::{PostgresStore, error::unknown_value, requests::micros, tx::answered},
};
use sqlx::FromRow;
use std::{collections::BTreeSet, time::Duration};

/// An address that is not used by then is worth nothing.
const LOGIN_LASTS: &str = "5 minutes";

/// As long as an address lets a person stay at most.
const SESSION_LASTS: &str = "8 hours";

#[derive(FromRow)]
struct SessionRow {
    name: String,
    roles: Vec<String>,
    subject: Option<String>,
    groups: Option<Vec<String>>,
    groups_age: Option<f64>,
}

impl SessionRow {
    fn view(self) -> Result<SessionView, StoreError> {
        let age = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let mut person = Person { subject: self.subject, ..person(self.name, &self.roles)? };
        let groups = self.groups.zip(self.groups_age.map(age));
        if groups.is_some() {
            person.identified = Identified::Oidc;
        }
        Ok(SessionView { person, groups })
    }
}

impl PostgresStore {
    /// Keeps an address by which one person may enter once.
    pub async fn make_login(&self, login: NewLogin) -> Result<(), StoreError> {
        let made = self.context.transaction(move |c| {
            Box::pin(async move {
                sqlx::query(
                    "WITH ended AS (DELETE FROM console_logins WHERE ends_at <= jenius_now()),
                          left_alone AS (DELETE FROM console_sessions WHERE ends_at <= jenius_now())
                     INSERT INTO console_logins (hash, name, roles, session_seconds, ends_at)
                     VALUES ($1, $2, $3, $4, jenius_now() + $5::interval)",
                )
                .bind(login.hash.as_slice())
                .bind(&login.name)
                .bind(names(&login.roles))
                .bind(i32::try_from(micros(login.session) / 1_000_000).unwrap_or(i32::MAX))
                .bind(LOGIN_LASTS)
                .execute(&mut *c)
                .await?;
                let detail = Some(names(&login.roles).join(", "));
                let action = Action {
                    kind: ActionKind::ConsoleLogin,
                    subject: login.name,
                    merchant: None,
                    reason: None,
                    done_by: Some(login.made_by),
                    detail,
                };
                actions::write(c, &action).await
            })
        });
        Ok(made.await?)
    }

    /// Uses an address up. `None`: there is none, or its time has passed.
    pub async fn enter(&self, entry: ConsoleEntry) -> Result<Option<Person>, StoreError> {
        let entered = self.context.transaction(move |c| {
            Box::pin(async move {
                let found: Option<(String, Vec<String>)> = sqlx::query_as(
                    "WITH used AS (
                         DELETE FROM console_logins WHERE hash = $1 AND ends_at > jenius_now()
                         RETURNING name, roles, session_seconds)
                     INSERT INTO console_sessions (hash, name, roles, ends_at)
                     SELECT $2, name, roles, jenius_now() + make_interval(secs => session_seconds) FROM used
                     RETURNING name, roles",
                )
                .bind(entry.login.as_slice())
                .bind(entry.session.as_slice())
                .fetch_optional(&mut *c)
                .await?;
                let Some((name, roles)) = found else { return Ok(None) };
                let person = person(name, &roles)?;
                let action = passage(ActionKind::ConsoleEnter, &person);
                actions::write_from(c, &action, &entry.from).await?;
                Ok(Some(person))
            })
        });
        Ok(entered.await?)
    }

    /// Lets a person in for whom a provider answers.
    pub async fn log_in(
        &self,
        found: IdentifiedPerson,
        session: KeyHash,
        from: String,
    ) -> Result<(), StoreError> {
        let IdentifiedPerson { subject, name, groups } = found;
        let entered = self.context.transaction(move |c| {
            Box::pin(async move {
                sqlx::query(
                    "WITH ended AS (DELETE FROM console_sessions WHERE ends_at <= jenius_now())
                     INSERT INTO console_sessions (hash, name, roles, identified, subject, groups, groups_at, began_at, ends_at)
                     SELECT $1, $2, '{}', 'oidc', $5, $3, now, now, now + $4::interval
                     FROM (SELECT jenius_now() AS now) AS clock",
                )
                .bind(session.as_slice())
                .bind(&name)
                .bind(&groups)
                .bind(SESSION_LASTS)
                .bind(&subject)
                .execute(&mut *c)
                .await?;
                let roles = BTreeSet::new();
                let person = Person { name, identified: Identified::Oidc, subject: Some(subject), roles };
                let mut action = passage(ActionKind::ConsoleEnter, &person);
                action.detail = Some(groups.join(", "));
                actions::write_from(c, &action, &from).await
            })
        });
        Ok(entered.await?)
    }

    /// Who has this key; `None`: no person, or its time has passed.
    pub async fn session(&self, key: KeyHash) -> Result<Option<SessionView>, StoreError> {
        let found: Option<SessionRow> = answered!(self.context.pool, |c| {
            sqlx::query_as(
            "SELECT name, roles, subject, groups, extract(epoch FROM jenius_now() - groups_at)::float8 AS groups_age
             FROM console_sessions WHERE hash = $1 AND ends_at > jenius_now()"
        )
        .bind(key.as_slice())
        .fetch_optional(c)
        })?;
        found.map(SessionRow::view).transpose()
    }

    /// Ends a session.
    pub async fn leave(&self, key: KeyHash, person: &Person, from: &str) -> Result<(), StoreError> {
        let (action, from) = (passage(ActionKind::ConsoleLeave, person), from.to_owned());
        let left = self.context.transaction(move |c| {
            Box::pin(async move {
                let done = sqlx::query("DELETE FROM console_sessions WHERE hash = $1")
                    .bind(key.as_slice())
                    .execute(&mut *c)
                    .await?;
                if done.rows_affected() > 0 {
                    actions::write_from(c, &action, &from).await?;
                }
                Ok(())
            })
        });
        Ok(left.await?)
    }
}

fn passage(kind: ActionKind, person: &Person) -> Action {
    Action {
        kind,
        subject: person.name.clone(),
        merchant: None,
        reason: None,
        done_by: Some(person.audited()),
        detail: Some(person.role_names()),
    }
}

fn names(roles: &BTreeSet<ConsoleRole>) -> Vec<&'static str> {
    roles.iter().map(|role| role.name()).collect()
}

fn person(name: String, roles: &[String]) -> Result<Person, StoreError> {
    let role = |name: &String| ConsoleRole::from_name(name).ok_or_else(|| unknown_value("role"));
    let roles = roles.iter().map(role).collect::<Result<_, _>>()?;
    Ok(Person { name, identified: Identified::Local, subject: None, roles })
}
