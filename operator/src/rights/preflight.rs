//! Which of the rights that an installation gives are missing here.
//!
//! Rights come with the installation, never from the operator; so whoever exchanges only the image may lack some of
//! them. The API server is asked before somebody has to find out why a speaker fails.

use futures::future::join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, ResourceRule, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SelfSubjectRulesReview,
    SelfSubjectRulesReviewSpec, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};
use metallb_api::names;
use tracing::debug;

use crate::rights::{Right, needed};

/// How long is waited between questions: nobody is in a hurry for this, and the API server has others to serve.
const BREATH: std::time::Duration = std::time::Duration::from_millis(200);

/// How many missing rights are named; one hint is worth as much as a hundred.
const NAMED: usize = 8;

/// Where nobody gives the operator rights: what it may do there, it may do everywhere.
const ELSEWHERE: &str = "kube-node-lease";

/// Names what the operator, and the components if we may ask that, are not allowed to do and need; empty if all is well.
pub(crate) async fn missing(client: &Client, namespace: &str) -> Vec<String> {
    let (here, elsewhere) = tokio::join!(rules(client, namespace), rules(client, ELSEWHERE));
    let known = |right: &Right| {
        let rules = if right.namespace.is_some() { &here } else { &elsewhere };
        right.account == names::OPERATOR_SERVICE_ACCOUNT && rules.iter().any(|rule| right.is_given_by(rule))
    };
    let doubtful: Vec<Right> = needed(namespace).into_iter().filter(|right| !known(right)).collect();
    let mut refused = Vec::new();
    for some in doubtful.chunks(crate::AT_A_TIME) {
        tokio::time::sleep(BREATH).await;
        let answers = join_all(some.iter().map(|right| is_refused(client, namespace, right))).await;
        refused.extend(
            some.iter()
                .zip(answers)
                .filter(|(_, refused)| *refused)
                .map(|(right, _)| right),
        );
    }
    let mut named: Vec<_> = refused.iter().take(NAMED).map(ToString::to_string).collect();
    if refused.len() > NAMED {
        named.push(format!("{} more are missing", refused.len() - NAMED));
    }
    named
}

/// The operator's own rules in a namespace, as far as the API server can tell.
async fn rules(client: &Client, namespace: &str) -> Vec<ResourceRule> {
    let api: Api<SelfSubjectRulesReview> = Api::all(client.clone());
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec {
            namespace: Some(namespace.to_owned()),
        },
        ..SelfSubjectRulesReview::default()
    };
    match api.create(&PostParams::default(), &review).await {
        Ok(answer) => answer.status.map(|status| status.resource_rules).unwrap_or_default(),
        Err(error) => {
            debug!(event = "rulesNotAsked", namespace, %error);
            Vec::new()
        }
    }
}

/// Asks; what cannot be asked counts as allowed.
async fn is_refused(client: &Client, namespace: &str, right: &Right) -> bool {
    let allowed = if right.account == names::OPERATOR_SERVICE_ACCOUNT {
        own(client, right.attributes()).await
    } else {
        anothers(client, namespace, &right.account, right.attributes()).await
    };
    match allowed {
        Ok(allowed) => !allowed,
        Err(error) => {
            debug!(event = "rightNotAsked", right = %right, %error);
            false
        }
    }
}

async fn own(client: &Client, attributes: ResourceAttributes) -> kube::Result<bool> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_none_or(|status| status.allowed))
}

async fn anothers(
    client: &Client,
    namespace: &str,
    account: &str,
    attributes: ResourceAttributes,
) -> kube::Result<bool> {
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let groups = [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ];
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{namespace}:{account}")),
            groups: Some(groups.into()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_none_or(|status| status.allowed))
}
