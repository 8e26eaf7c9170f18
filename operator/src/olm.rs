//! Tells the Operator Lifecycle Manager whether this is a good moment for an upgrade.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{DynamicObject, Patch},
    core::{ApiResource, GroupVersionKind},
};
use metallb_api::names::field_manager;
use metallb_runtime::{apply, cause::explain};
use serde_json::json;
use tracing::warn;

use crate::status::conditions::State;

/// The OperatorCondition that the Lifecycle Manager made for this operator. Upstream: not used.
pub(crate) struct OperatorCondition {
    api: Api<DynamicObject>,
    name: String,
    told: Option<(bool, String)>,
}

impl OperatorCondition {
    /// Finds it by `OPERATOR_CONDITION_NAME`; none where the Lifecycle Manager is not in charge.
    pub(crate) fn from_name(client: &Client, namespace: &str, name: Option<String>) -> Option<Self> {
        let name = name.filter(|name| !name.is_empty())?;
        let kind = GroupVersionKind::gvk("operators.coreos.com", "v2", "OperatorCondition");
        let api = Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&kind));
        Some(Self { api, name, told: None })
    }

    /// Tells the state, if it means something else than what was told last.
    pub(crate) async fn tell(&mut self, state: &State) {
        let (upgradeable, message) = verdict(state);
        let told = (upgradeable, message.to_owned());
        if self.told.as_ref() == Some(&told) {
            return;
        }
        let condition = condition(upgradeable, message);
        let body = json!({
            "apiVersion": "operators.coreos.com/v2", "kind": "OperatorCondition",
            "metadata": { "name": self.name }, "spec": { "conditions": [condition] },
        });
        let params = apply::params(field_manager::OPERATOR);
        match self.api.patch(&self.name, &params, &Patch::Apply(body)).await {
            Ok(_) => self.told = Some(told),
            Err(error) => warn!(
                event = "operatorConditionFailed",
                name = self.name,
                error = explain(&error)
            ),
        }
    }
}

/// Only a rollout under way is a bad moment. Whatever is wrong for good may be what the next version mends.
fn verdict(state: &State) -> (bool, &str) {
    match state {
        State::Progressing(message) => (false, message),
        _ => (true, ""),
    }
}

fn condition(upgradeable: bool, message: &str) -> Condition {
    Condition {
        type_: "Upgradeable".to_owned(),
        status: if upgradeable { "True" } else { "False" }.to_owned(),
        reason: if upgradeable { "Upgradeable" } else { "Progressing" }.to_owned(),
        message: message.to_owned(),
        last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::now()),
        observed_generation: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_rollout_holds_up_an_upgrade() {
        assert!(verdict(&State::available()).0);
        assert!(verdict(&State::degraded("ApplyFailed", "x")).0);
        assert_eq!(verdict(&State::Progressing("1 of 2".into())), (false, "1 of 2"));
    }
}
