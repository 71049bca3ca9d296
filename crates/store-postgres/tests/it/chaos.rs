//! Random lives of payments: messages late, doubled, reordered or lost, provider and network failing before
//! and after their work; purchases, refunds, disputes. In the end the books say what the payment provider
//! says, to the cent, and every credit was granted once.
//!
//! 5,000 lives run on a ledger in memory and 200 on PostgreSQL (`FAREBOX_TEST_FULL=1`: 100,000 and 2,000).

use crate::database::{noon, with_db};
use crate::world::World;
use billing::desk::{BeginPurchase, PaymentEvent, Progress, PurchaseDesk};
use billing::dispute::DisputeState;
use billing::dispute_desk::DisputeDesk;
use billing::money_desk::MoneyDesk;
use billing::purchase::{Mismatch, NewPurchase, PurchaseState};
use billing::refund::{RefundState, Requester};
use billing::refund_desk::{Ask, RefundDesk};
use kernel::clock::FixedClock;
use kernel::ids::{MemberId, OrgId, PurchaseId, RefundId};
use kernel::rng::SeededEntropy;
use kernel::{Cents, Clock as _, Entropy as _};
use memory::Memory;
use provider::Bank;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

mod memory;
mod provider;

const STEPS: u32 = 60;
const NANO: i64 = 10_000_000;

/// The ledger under test, by its ports, and the balance that it ends with.
#[derive(Clone)]
pub(crate) struct Books {
    pub(crate) purchases: Arc<dyn billing::ledger::PurchaseLedger>,
    pub(crate) grants: Arc<dyn billing::ledger::GrantLedger>,
    pub(crate) refunds: Arc<dyn billing::ledger::RefundLedger>,
    pub(crate) disputes: Arc<dyn billing::ledger::DisputeLedger>,
    pub(crate) of_org: Arc<dyn billing::ledger::OrgDisputes>,
    pub(crate) purse: Arc<dyn billing::refund_desk::Purse>,
}

/// One life.
struct Life {
    rng: SeededEntropy,
    clock: Arc<FixedClock>,
    bank: Arc<Bank>,
    books: Books,
    desk: MoneyDesk,
    org: OrgId,
    member: MemberId,
    bought: Vec<NewPurchase>,
    shown: Vec<PurchaseId>,
    wire: Vec<PaymentEvent>,
}

impl Life {
    fn new(seed: u64, clock: Arc<FixedClock>, books: Books, (org, member): (OrgId, MemberId)) -> Self {
        let bank = Arc::new(Bank::new(seed));
        let purchases = PurchaseDesk::new(
            bank.clone(),
            books.purchases.clone(),
            books.grants.clone(),
            clock.clone(),
            false,
        );
        let refunds = RefundDesk {
            provider: bank.clone(),
            refunds: books.refunds.clone(),
            purchases: books.purchases.clone(),
            grants: books.grants.clone(),
            purse: books.purse.clone(),
            clock: clock.clone(),
        };
        let disputes = DisputeDesk {
            provider: bank.clone(),
            disputes: books.disputes.clone(),
            grants: books.grants.clone(),
            clock: clock.clone(),
            live: false,
            site: "https://farebox.example".to_owned(),
        };
        let desk = MoneyDesk { purchases, refunds, disputes };
        let (bought, shown, wire) = Default::default();
        Self { rng: SeededEntropy::new(seed), clock, bank, books, desk, org, member, bought, shown, wire }
    }

    fn chance(&self, of: u64) -> u64 {
        self.rng.below(of)
    }

    fn any_purchase(&self) -> Option<NewPurchase> {
        let count = u64::try_from(self.bought.len()).unwrap();
        if count == 0 {
            return None;
        }
        self.bought.get(usize::try_from(self.chance(count)).unwrap()).cloned()
    }

    async fn live(&mut self) {
        for _ in 0..STEPS {
            match self.chance(12) {
                0 => self.begin().await,
                1 | 2 => self.pay_or_lapse(),
                3 => self.ask_back().await,
                4 => self.bank_disputes(),
                5 => self.bank_decides(),
                6 => self.bank_returns(),
                7..=9 => self.deliver().await,
                10 => self.poll().await,
                _ => self.clock.advance(Duration::from_secs(self.chance(4_000))),
            }
        }
        // Everything that is still on its way is lost; what is known must come by asking.
        self.bank.one_in.store(0, Ordering::SeqCst);
        self.wire.clear();
        for _ in 0..4 {
            self.clock.advance(Duration::from_secs(26 * 3600));
            self.poll().await;
        }
    }

    async fn begin(&mut self) {
        let amount = Cents::new(500 + i64::try_from(self.chance(5_000)).unwrap());
        let new = NewPurchase {
            id: PurchaseId::new(self.clock.as_ref(), &self.rng),
            org: self.org,
            member: self.member,
            amount,
            fee: billing::fees::PurchaseFee::STANDARD.fee(amount).unwrap(),
            created_at: self.clock.now(),
        };
        let begin = BeginPurchase {
            purchase: new.clone(),
            email: "a@b.test",
            success_url: "https://s/",
            cancel_url: "https://c/",
        };
        // Who was never sent to the page cannot pay on it.
        if self.desk.purchases.begin(&begin).await.is_ok() {
            self.shown.push(new.id);
        }
        self.bought.push(new);
    }

    fn tell(&mut self, session: Option<String>, payment: Option<String>, dispute: Option<String>) {
        let event = PaymentEvent {
            id: format!("evt_{}", self.rng.next_u64()),
            kind: "something".to_owned(),
            live: false,
            refund: session.is_none() && dispute.is_none(),
            session,
            payment,
            dispute,
            purchase: None,
        };
        let copies = 1 + self.chance(2);
        (0..copies).for_each(|_| self.wire.push(event.clone()));
    }

    fn pay_or_lapse(&mut self) {
        let Some(new) = self.any_purchase() else { return };
        let pays = self.chance(4) > 0;
        if !self.shown.contains(&new.id) {
            return;
        }
        if let Some(session) = self.bank.close(new.id, pays) {
            self.tell(Some(session), None, None);
        }
    }

    async fn ask_back(&mut self) {
        let Some(new) = self.any_purchase() else { return };
        let by = if self.chance(2) == 0 {
            Requester::Member(self.member)
        } else {
            Requester::Staff("rosa@farebox.example".to_owned())
        };
        let amount = (self.chance(2) == 0).then(|| Cents::new(1 + i64::try_from(self.chance(900)).unwrap()));
        let id = RefundId::new(self.clock.as_ref(), &self.rng);
        let ask = Ask { id, org: self.org, purchase: new.id, amount, by, reason: "chaos".to_owned() };
        let _may_fail = self.desk.refunds.request(&ask).await.is_ok();
    }

    fn bank_disputes(&mut self) {
        let Some(new) = self.any_purchase() else { return };
        let inquiry = self.chance(3) == 0;
        if let Some((dispute, payment)) = self.bank.dispute_of(new.id, inquiry) {
            self.tell(None, Some(payment), Some(dispute));
        }
    }

    fn bank_decides(&mut self) {
        let word = [DisputeState::Open, DisputeState::Closed, DisputeState::Won, DisputeState::Lost];
        let word = word[usize::try_from(self.chance(4)).unwrap()];
        if let Some((dispute, payment)) = self.bank.decide(&self.rng, word) {
            self.tell(None, Some(payment), Some(dispute));
        }
    }

    fn bank_returns(&mut self) {
        if let Some(payment) = self.bank.return_refund(&self.rng) {
            self.tell(None, Some(payment), None);
        }
    }

    /// One message, or two at once; delivered, delivered and kept (its answer was lost), or lost.
    async fn deliver(&mut self) {
        let count = u64::try_from(self.wire.len()).unwrap();
        if count == 0 {
            return;
        }
        let (one, two) =
            (usize::try_from(self.chance(count)).unwrap(), usize::try_from(self.chance(count)).unwrap());
        let (first, second) = (self.wire[one].clone(), self.wire[two].clone());
        if self.chance(6) > 0 {
            let (a, b) = tokio::join!(self.desk.handle_event(&first), self.desk.handle_event(&second));
            for progress in [a, b].into_iter().flatten() {
                // The one thing that may look wrong for a while: a refund that failed and we have not heard of.
                let amount = matches!(progress, Progress::Alarm(Mismatch::Amount { .. }));
                assert!(amount || !matches!(progress, Progress::Alarm(_)), "{progress:?}");
            }
        }
        if self.chance(3) > 0 {
            self.wire.swap_remove(one);
        }
    }

    async fn poll(&self) {
        let _may_fail = self.desk.purchases.poll_open(100).await.is_ok();
        let _may_fail = self.desk.refunds.resume(100).await.is_ok();
        let _may_fail = self.desk.disputes.poll(100).await.is_ok();
        let _may_fail = self.desk.disputes.sweep().await.is_ok();
    }

    /// The books against the bank's own word.
    async fn check(&self, seed: u64) {
        let mut expected = 0;
        for new in &self.bought {
            let row = self.books.purchases.purchase(self.org, new.id).await.unwrap().unwrap();
            let truth = self.bank.truth(new.id);
            assert_eq!(
                row.state == PurchaseState::Granted,
                truth.paid,
                "seed {seed}: {} {:?}",
                new.id,
                row.state
            );
            assert_eq!(row.disputed.get(), truth.disputed, "seed {seed}: disputed of {}", new.id);
            assert_eq!(row.refunded.get(), truth.refunded, "seed {seed}: refunded of {}", new.id);
            assert!(row.refunded.get() + row.disputed.get() <= row.total().get(), "seed {seed}");
            if truth.paid {
                expected += (new.amount.get() - truth.refunded - truth.disputed) * NANO;
            }
            for refund in self.books.refunds.refunds_of(self.org, new.id).await.unwrap() {
                assert_ne!(refund.state, RefundState::Debited, "seed {seed}: {} has no end", refund.id);
            }
        }
        let disputes = self.books.of_org.disputes_of(self.org).await.unwrap();
        let written_off: i64 = disputes.iter().map(|one| one.written_off.get()).sum();
        for dispute in &disputes {
            assert_eq!(Some(dispute.state), self.bank.dispute_state(&dispute.provider_id), "seed {seed}");
            assert!(dispute.written_off.get() <= dispute.amount.get() * NANO, "seed {seed}");
        }
        assert_eq!(disputes.len(), self.bank.disputes(), "seed {seed}: a dispute was never heard of");
        let account = self.bank_account().await;
        let balance = self.books.purse.balance(account).await.unwrap();
        assert_eq!(balance.balance.get(), expected + written_off, "seed {seed}");
        let held = disputes.iter().any(|one| matches!(one.state, DisputeState::Open | DisputeState::Lost));
        assert_eq!(balance.frozen, held, "seed {seed}");
    }

    async fn bank_account(&self) -> kernel::AccountRef {
        let first = self.bought.first().unwrap();
        self.books.purchases.purchase(self.org, first.id).await.unwrap().unwrap().account
    }
}

async fn life(seed: u64, clock: Arc<FixedClock>, books: Books, who: (OrgId, MemberId)) -> Life {
    let mut life = Life::new(seed, clock, books, who);
    life.begin().await;
    life.live().await;
    life.check(seed).await;
    life
}

fn full() -> bool {
    std::env::var_os("FAREBOX_TEST_FULL").is_some_and(|set| set == "1")
}

#[tokio::test]
async fn chaos_of_payments_ends_as_the_bank_says_in_memory() {
    let lives = if full() { 100_000 } else { 5_000 };
    let (mut paid, mut refunded, mut disputed) = (0, 0, 0);
    for seed in 0..lives {
        let clock = Arc::new(FixedClock::at(noon()));
        let memory = Memory::new(clock.clone());
        let org = OrgId::from_uuid(uuid::Uuid::from_u128(7));
        let life =
            life(seed, clock, memory.books(), (org, MemberId::from_uuid(uuid::Uuid::from_u128(8)))).await;
        for new in &life.bought {
            let truth = life.bank.truth(new.id);
            paid += u32::from(truth.paid);
            refunded += u32::from(truth.refunded > 0);
            disputed += u32::from(truth.disputed > 0);
        }
    }
    println!("{lives} lives in memory: {paid} paid, {refunded} refunded, {disputed} disputed purchases");
    assert!(paid > 5_000 && refunded > 300 && disputed > 500, "{paid} {refunded} {disputed}");
}

#[tokio::test]
async fn chaos_of_payments_ends_as_the_bank_says_on_postgresql_and_the_books_prove_it() {
    let lives: u64 = if full() { 2_000 } else { 200 };
    with_db(async |db| {
        let world = World::open(db).await;
        let store = Arc::new(world.store().clone());
        let books = Books {
            purchases: store.clone(),
            grants: store.clone(),
            refunds: store.clone(),
            disputes: store.clone(),
            of_org: store.clone(),
            purse: Arc::new(memory::LedgerPurse { ledger: store.clone(), clock: world.db.clock.clone() }),
        };
        for seed in 0..lives {
            let (org, member) = crate::world::customer(&store, &format!("c{seed}@example.com")).await;
            life(1_000_000 + seed, world.db.clock.clone(), books.clone(), (org.id, member)).await;
        }
        println!("{lives} lives on PostgreSQL");
        world.assert_sound().await;
    })
    .await;
}
