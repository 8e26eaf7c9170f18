//! The name of the pool that we note on a Service, under the prefix of today and that of old.

use super::*;

const OLD_MARK: &str = "metallb.universe.tf/ip-allocated-from-pool";

fn noted(mut service: Service) -> Service {
    service.annotations_mut().insert(OLD_MARK.into(), "before".into());
    service
}

fn warns(actions: &[Action]) -> bool {
    let warning = |action: &Action| {
        matches!(
            action,
            Action::Tell {
                reason: "deprecatedAnnotation",
                ..
            }
        )
    };
    actions.iter().any(warning)
}

#[test]
fn the_note_of_old_is_replaced_by_the_first_write_and_nobody_is_warned_of_it() {
    // CTL-68
    let held = noted(with_ip(service("a"), "1.2.3.1", "p"));
    let mut engine = started(std::slice::from_ref(&held));
    assert_eq!(
        write(&look(&mut engine, &held)),
        None,
        "it is not written for that alone"
    );
    let mut other = held.clone();
    other.annotations_mut().insert(MARK.into(), "renamed".into());
    let actions = look(&mut engine, &other);
    let annotations = write(&actions).unwrap().annotations().clone();
    assert_eq!((annotations.get(OLD_MARK), annotations[MARK].as_str()), (None, "p"));
    assert!(!warns(&actions), "{actions:?}");
}

#[test]
fn a_service_that_has_the_note_of_old_alone_gets_the_one_of_today() {
    // CTL-39
    let mut held = noted(with_ip(service("a"), "1.2.3.1", "p"));
    held.annotations_mut().remove(MARK);
    let mut engine = started(std::slice::from_ref(&held));
    let actions = look(&mut engine, &held);
    let now = write(&actions).unwrap();
    assert_eq!(
        (now.annotations().get(OLD_MARK), ips(now)),
        (None, vec!["1.2.3.1".to_owned()])
    );
    assert_eq!(now.annotations()[MARK], "p");
}

#[test]
fn the_note_of_old_goes_with_the_address() {
    // CTL-4 CTL-26
    for marked in [false, true] {
        let mut held = noted(with_ip(service("a"), "1.2.3.1", "p"));
        if !marked {
            held.annotations_mut().remove(MARK);
        }
        let mut engine = started(std::slice::from_ref(&held));
        // The API server has emptied the status with the type.
        let mut now = typed(held, "ClusterIP");
        now.status = None;
        let actions = look(&mut engine, &now);
        assert_eq!(write(&actions).unwrap().annotations().len(), 0);
        assert!(!warns(&actions), "{actions:?}");
    }
}
