//! Answers to ROUTE-REFRESH, which a router sends when its policy has changed (RFC 2918, RFC 7313).

use std::{collections::BTreeSet, time::Instant};

use super::{Action, Session, connection::Connection, transmit::HIGH_WATER};
use crate::wire::{Family, Message, RouteRefresh};

impl Session {
    pub(super) fn on_refresh(&mut self, now: Instant, refresh: RouteRefresh, out: &mut Vec<Action>) {
        let Some(connection) = &mut self.connection else { return };
        let asked = self.config.offer.route_refresh && refresh.subtype == RouteRefresh::REQUEST;
        if asked && connection.codec().carries(refresh.family) {
            connection.refreshing.insert(refresh.family);
            self.flush(now, out);
        }
    }

    /// Sends the tables that were asked for, each between its begin and its end if both sides know these.
    ///
    /// Not before the table is known, which under graceful restart is not before End-of-RIB (RFC 7313 §4): what is not
    /// between begin and end is removed by the peer. Nor while the peer is busy with what was sent before.
    pub(super) fn repeat_tables(&mut self, out: &mut Vec<Action>) {
        let Some(connection) = &mut self.connection else { return };
        if !self.routes_known || connection.unwritten > HIGH_WATER || connection.refreshing.is_empty() {
            return;
        }
        let families = std::mem::take(&mut connection.refreshing);
        self.frame(RouteRefresh::BEGIN, &families, out);
        for family in &families {
            self.rib.refresh(*family);
        }
        self.tell_changes(out);
        self.frame(RouteRefresh::END, &families, out);
    }

    fn frame(&mut self, subtype: u8, families: &BTreeSet<Family>, out: &mut Vec<Action>) {
        let codec = self.connection.as_ref().map(Connection::codec).unwrap_or_default();
        for family in families.iter().copied().filter(|_| codec.enhanced_refresh) {
            self.send(&Message::RouteRefresh(RouteRefresh { family, subtype }), out);
        }
    }
}
