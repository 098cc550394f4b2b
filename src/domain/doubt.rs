//! Doubt: since when it is not known whether DOKU acted on a command. It sticks until authority clears it.

use super::{
    Time,
    record::{OrderRecord, Progress},
};

impl OrderRecord {
    /// As `Progress::doubt` of one of its commands. Where doubt of the open one begins, so do the intervals between its
    /// inquiries: those made before were about something else.
    pub(super) fn doubt(
        &mut self,
        command: impl FnOnce(&mut Self) -> Option<&mut Progress>,
        sent_at: Time,
        last: Time,
    ) {
        let is_doubted = |order: &Self| order.open_command().is_some_and(|c| c.maybe_acted_at.is_some());
        let was_doubted = is_doubted(self);
        if let Some(command) = command(self) {
            command.doubt(sent_at, last);
        }
        if !was_doubted && is_doubted(self) {
            self.checks_made = 0;
        }
    }
}

impl Progress {
    /// Since when it is not known whether DOKU acted; `None`: without doubt.
    pub fn doubt_since(&self) -> Option<Time> {
        self.maybe_acted_at.map(|last| self.doubted_at.unwrap_or(last))
    }

    /// A send that was made then may have acted as late as `last`.
    fn doubt(&mut self, sent_at: Time, last: Time) {
        self.doubted_at = self.doubt_since().or(Some(sent_at));
        self.maybe_acted_at = self.maybe_acted_at.max(Some(last));
    }

    /// Authority says that nothing acted.
    pub(super) fn clear_doubt(&mut self) {
        (self.maybe_acted_at, self.doubted_at) = (None, None);
    }

    /// Whether nothing of it can have been sent: it waits for DOKU's word, and waited for it all the time.
    pub fn is_unsent(&self) -> bool {
        self.ask_first && self.sends == 0 && self.maybe_acted_at.is_none()
    }
}
