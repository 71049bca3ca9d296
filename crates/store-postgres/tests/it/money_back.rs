//! Refunds and disputes: debited once, given back once, never more than was paid, whatever is repeated.

use crate::database::{noon, with_db};
use crate::world::World;
use billing::dispute::{Advance, Advanced, DisputeState};
use billing::ledger::{
    DisputeLedger as _, GrantLedger as _, OrgDisputes as _, PurchaseLedger as _, RefundLedger as _,
};
use billing::mail::{self, MailOutbox as _};
use billing::refund::{Decision, NewRefund, Opened, RefundEnd, RefundRefusal, RefundState, Requester};
use kernel::Cents;
use kernel::Clock as _;
use kernel::ids::{PurchaseId, RefundId};
use kernel::rng::SystemEntropy;

const DOLLAR: i64 = 1_000_000_000;

fn refund(world: &World, purchase: PurchaseId, cents: i64, staff: Option<&str>) -> NewRefund {
    NewRefund {
        id: RefundId::new(world.db.clock.as_ref(), &SystemEntropy),
        org: world.org.id,
        purchase,
        amount: Cents::new(cents),
        by: staff.map_or(Requester::Member(world.member), |staff| Requester::Staff(staff.to_owned())),
        reason: "a test".to_owned(),
        at: world.db.clock.now(),
    }
}

fn advance(purchase: PurchaseId, id: &str, cents: i64, to: DisputeState) -> Advance {
    Advance {
        provider_id: id.to_owned(),
        purchase,
        amount: Cents::new(cents),
        to,
        reason: "fraudulent".to_owned(),
        letter: mail::dispute(to, Cents::new(cents), "https://farebox.example"),
        at: noon(),
    }
}

fn done(id: &str) -> RefundEnd {
    RefundEnd::Done { provider_id: id.to_owned() }
}

fn reversed() -> RefundEnd {
    RefundEnd::Reversed { provider_id: None, why: "refused".to_owned() }
}

async fn frozen(world: &World) -> bool {
    let found = world.db.number("SELECT count(*) FROM account_state WHERE frozen").await;
    found == 1
}

#[tokio::test]
async fn eight_refunds_at_once_debit_once_and_a_repeated_one_is_the_same() {
    with_db(async |db| {
        let world = World::open(db).await;
        let purchase = world.buy(1000).await;
        let store = world.store();
        let asked: Vec<_> = (0..8).map(|_| refund(&world, purchase, 1000, None)).collect();
        let opened = futures_util::future::join_all(asked.iter().map(|new| store.open_refund(new))).await;
        let opened: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
        let debited = opened.iter().filter(|one| matches!(one, Opened::Debited(..))).count();
        let refused = opened.iter().filter(|one| **one == Opened::Refused(RefundRefusal::InProgress)).count();
        assert_eq!((debited, refused, world.posted().await), (1, 7, 0));
        let first = opened.iter().position(|one| matches!(one, Opened::Debited(..))).unwrap();
        assert!(matches!(store.open_refund(&asked[first]).await.unwrap(), Opened::Standing(_)));
        for _ in 0..2 {
            assert_eq!(store.finish_refund(asked[first].id, &done("re_1"), noon()).await.unwrap(), None);
        }
        let stored = store.purchase(world.org.id, purchase).await.unwrap().unwrap();
        assert_eq!((stored.refunded, world.posted().await), (Cents::new(1000), 0));
        let again = store.open_refund(&refund(&world, purchase, 1, None)).await.unwrap();
        assert_eq!(again, Opened::Refused(RefundRefusal::TooMuch));
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn a_refused_refund_gives_the_money_back_once_also_after_it_was_done() {
    with_db(async |db| {
        let world = World::open(db).await;
        let purchase = world.buy(1000).await;
        let store = world.store();
        for first in [None, Some("re_1")] {
            let new = refund(&world, purchase, 700, None);
            store.open_refund(&new).await.unwrap();
            assert_eq!(world.posted().await, 3 * DOLLAR);
            if let Some(id) = first {
                store.finish_refund(new.id, &done(id), noon()).await.unwrap();
            }
            let back = futures_util::future::join_all(
                (0..4).map(|_| store.finish_refund(new.id, &REVERSED, noon())),
            )
            .await;
            assert_eq!(back.into_iter().filter(|one| one.as_ref().unwrap().is_some()).count(), 1);
            assert_eq!(world.posted().await, 10 * DOLLAR);
            store.finish_refund(new.id, &done("re_9"), noon()).await.unwrap();
            assert_eq!(store.refund(new.id).await.unwrap().unwrap().state, RefundState::Reversed);
        }
        world.assert_sound().await;
    })
    .await;
}

static REVERSED: std::sync::LazyLock<RefundEnd> = std::sync::LazyLock::new(reversed);

#[tokio::test]
async fn above_a_hundred_dollars_staff_need_a_second_person_who_is_not_the_first() {
    with_db(async |db| {
        let world = World::open(db).await;
        let purchase = world.buy(30_000).await;
        let store = world.store();
        let new = refund(&world, purchase, 10_001, Some("rosa@farebox.example"));
        assert!(matches!(store.open_refund(&new).await.unwrap(), Opened::Standing(_)));
        assert_eq!(world.posted().await, 300 * DOLLAR, "nothing moves before the second word");
        let decision = |staff: &str, agreed| Decision { staff: staff.to_owned(), agreed, at: noon() };
        let own = store.decide_refund(new.id, &decision("rosa@farebox.example", true)).await.unwrap();
        assert_eq!(own, Opened::Refused(RefundRefusal::SamePerson));
        let agreed = store.decide_refund(new.id, &decision("max@farebox.example", true)).await.unwrap();
        assert!(matches!(agreed, Opened::Debited(_, Some(_))), "{agreed:?}");
        let late = store.decide_refund(new.id, &decision("max@farebox.example", false)).await.unwrap();
        assert_eq!(late, Opened::Refused(RefundRefusal::Unknown));
        store.finish_refund(new.id, &done("re_1"), noon()).await.unwrap();
        let small = refund(&world, purchase, 10_000, Some("rosa@farebox.example"));
        assert!(matches!(store.open_refund(&small).await.unwrap(), Opened::Debited(..)));
        let entries =
            "SELECT count(*) FROM audit_log WHERE action LIKE 'refund.%' AND detail->>'reason' = 'a test'";
        assert_eq!(world.db.number(entries).await, 3);
        let alone =
            "INSERT INTO refund (id, purchase_id, amount_cents, state, staff, reason, created_at, touched_at)
                     SELECT id, id, 10001, 'debited', 'rosa', 'x', now(), now() FROM purchase LIMIT 1";
        assert!(world.db.refused(alone).await.contains("check constraint"));
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn a_dispute_debits_freezes_and_tells_and_a_won_one_undoes_it() {
    with_db(async |db| {
        let world = World::open(db).await;
        let purchase = world.buy(1000).await;
        let store = world.store();
        let tell = |to| advance(purchase, "du_1", 1080, to);
        for to in [DisputeState::Inquiry, DisputeState::Open, DisputeState::Open, DisputeState::Inquiry] {
            store.advance_dispute(&tell(to)).await.unwrap();
        }
        assert_eq!((world.posted().await, frozen(&world).await), (-800_000_000, true));
        let waiting = store.freezes_to_send(10).await.unwrap();
        assert_eq!(waiting, [(world.org.account, true)]);
        store.freeze_sent(world.org.account, true).await.unwrap();
        assert!(!store.unfreeze(world.org.id, "rosa@farebox.example", noon()).await.unwrap());
        let letters = store.latest_mail(10).await.unwrap();
        assert_eq!(letters.len(), 2, "one for each state that it reached");
        assert!(letters[0].letter.subject.contains("frozen"));
        for _ in 0..2 {
            store.advance_dispute(&tell(DisputeState::Won)).await.unwrap();
        }
        let late = store.advance_dispute(&tell(DisputeState::Lost)).await.unwrap();
        assert_eq!(late, Advanced::Already(world.org.account));
        assert_eq!((world.posted().await, frozen(&world).await), (10 * DOLLAR, false));
        assert_eq!(store.freezes_to_send(10).await.unwrap(), [(world.org.account, false)]);
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn what_a_lost_dispute_lacks_is_bad_debt_and_staff_may_end_the_freeze() {
    with_db(async |db| {
        let world = World::open(db).await;
        let purchase = world.buy(1000).await;
        let store = world.store();
        // Nobody heard of it before: every step between is taken all the same.
        let lost = store.advance_dispute(&advance(purchase, "du_1", 1080, DisputeState::Lost)).await.unwrap();
        assert!(matches!(lost, Advanced::Moved(Some(_))), "{lost:?}");
        assert_eq!((world.posted().await, frozen(&world).await), (0, true));
        let debt = "SELECT sum(amount_nano_usd)::bigint FROM ledger_movement WHERE class = 'write_off'";
        assert_eq!(world.db.number(debt).await, 800_000_000);
        assert_eq!(store.disputes_of(world.org.id).await.unwrap()[0].written_off.get(), 800_000_000);
        assert!(store.unfreeze(world.org.id, "rosa@farebox.example", noon()).await.unwrap());
        assert!(!frozen(&world).await);
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn refunds_and_disputes_together_never_take_more_than_was_paid() {
    with_db(async |db| {
        let world = World::open(db).await;
        let purchase = world.buy(1000).await;
        let store = world.store();
        let new = refund(&world, purchase, 600, None);
        store.open_refund(&new).await.unwrap();
        let all = advance(purchase, "du_1", 1080, DisputeState::Open);
        assert_eq!(
            store.advance_dispute(&all).await.unwrap(),
            Advanced::Busy,
            "the refund may yet be refused"
        );
        store.finish_refund(new.id, &done("re_1"), noon()).await.unwrap();
        assert_eq!(store.advance_dispute(&all).await.unwrap(), Advanced::TooMuch);
        let rest = advance(purchase, "du_1", 480, DisputeState::Open);
        assert!(matches!(store.advance_dispute(&rest).await.unwrap(), Advanced::Moved(Some(_))));
        let more = store.open_refund(&refund(&world, purchase, 1, None)).await.unwrap();
        assert_eq!(more, Opened::Refused(RefundRefusal::Disputed));
        let beyond = "UPDATE purchase SET refunded_cents = refunded_cents + 1";
        assert!(world.db.refused(beyond).await.contains("purchase_taken_back_at_most_paid"));
        world.assert_sound().await;
    })
    .await;
}

#[tokio::test]
async fn many_abandoned_checkouts_do_not_keep_the_poller_from_a_new_one() {
    with_db(async |db| {
        let world = World::open(db).await;
        let store = world.store();
        for _ in 0..60 {
            store.open_purchase(&world.new_purchase(500)).await.unwrap();
        }
        let later = |minutes| noon() + chrono::Duration::minutes(minutes);
        let first = store.purchases_to_check(later(3), later(3), 50).await.unwrap();
        let mut young = world.new_purchase(700);
        young.created_at = later(2);
        store.open_purchase(&young).await.unwrap();
        let second = store.purchases_to_check(later(3), later(4), 50).await.unwrap();
        assert_eq!(first.len(), 50);
        assert!(second.iter().any(|purchase| purchase.id == young.id), "what nobody looked at comes first");
        assert!(second.iter().filter(|one| first.iter().any(|before| before.id == one.id)).count() <= 39);
        let old = store.purchases_to_check(later(3), later(72 * 60 + 3), 100).await.unwrap();
        assert_eq!(old.len(), 0, "after 72 hours nobody asks any more");
    })
    .await;
}
