//! Sign-up, sessions and staff.

use crate::database::{noon, with_db};
use crate::world::customer;
use accounts::ports::{NewPerson, People as _, SignUp, StaffDesk as _};
use accounts::{Email, Role};
use billing::engine::shard_of;
use chrono::Duration;

fn ana() -> NewPerson {
    NewPerson { email: Email::parse("Ana@Example.com").unwrap(), password_hash: "h1".to_owned(), at: noon() }
}

#[tokio::test]
async fn signing_up_makes_everything_once() {
    with_db(async |db| {
        let SignUp::Done { person, org, member } = db.store.sign_up(&ana()).await.unwrap() else { panic!() };
        assert_eq!(db.store.sign_up(&ana()).await.unwrap(), SignUp::EmailTaken);
        db.store.add_session(person, &[1; 32], noon(), noon() + Duration::hours(1)).await.unwrap();
        let signed_in = db.store.session(&[1; 32], noon()).await.unwrap().unwrap();
        assert_eq!(
            (signed_in.org.id, signed_in.member.id, signed_in.member.role),
            (org, member, Role::Owner)
        );
        assert_eq!(signed_in.email, "ana@example.com");
        assert!(signed_in.org.personal);
        assert_eq!(signed_in.org.account.shard, shard_of(signed_in.org.account.account));
        assert_eq!(db.store.credentials(&ana().email).await.unwrap(), Some((person, "h1".to_owned())));
        assert_eq!(db.number("SELECT count(*) FROM account_state WHERE posted_nano_usd = 0").await, 1);
    })
    .await;
}

#[tokio::test]
async fn of_many_who_sign_up_with_one_address_at_once_one_succeeds() {
    with_db(async |db| {
        let tries = (0..8).map(|_| {
            let store = db.store.clone();
            async move { store.sign_up(&ana()).await.unwrap() }
        });
        let outcomes = futures_util::future::join_all(tries).await;
        let done = outcomes.iter().filter(|outcome| matches!(outcome, SignUp::Done { .. })).count();
        assert_eq!(done, 1);
        assert_eq!(db.number("SELECT count(*) FROM organization").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_session_lives_until_its_end() {
    with_db(async |db| {
        customer(&db.store, "ben@example.com").await;
        let (person, _) =
            db.store.credentials(&Email::parse("ben@example.com").unwrap()).await.unwrap().unwrap();
        let end = noon() + Duration::hours(1);
        db.store.add_session(person, &[2; 32], noon(), end).await.unwrap();
        assert!(db.store.session(&[2; 32], end - Duration::seconds(1)).await.unwrap().is_some());
        assert!(db.store.session(&[2; 32], end).await.unwrap().is_none());
        assert!(db.store.session(&[3; 32], noon()).await.unwrap().is_none());
        db.store.end_session(&[2; 32]).await.unwrap();
        assert!(db.store.session(&[2; 32], noon()).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn staff_with_a_new_password_must_sign_in_again() {
    with_db(async |db| {
        let email = Email::parse("staff@example.com").unwrap();
        let id = db.store.set_staff(&email, "h1", noon()).await.unwrap();
        db.store.add_staff_session(id, &[4; 32], noon(), noon() + Duration::hours(1)).await.unwrap();
        assert_eq!(db.store.staff_session(&[4; 32], noon()).await.unwrap().unwrap().id, id);
        assert_eq!(db.store.set_staff(&email, "h2", noon()).await.unwrap(), id);
        assert!(db.store.staff_session(&[4; 32], noon()).await.unwrap().is_none());
        assert_eq!(db.store.staff_credentials(&email).await.unwrap(), Some((id, "h2".to_owned())));
        let customer = Email::parse("nobody@example.com").unwrap();
        assert_eq!(db.store.staff_credentials(&customer).await.unwrap(), None);
    })
    .await;
}
