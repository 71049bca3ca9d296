//! Random lives of purchases against a plain model: webhooks late, doubled, reordered or lost, provider and
//! ledger failing before and after their work. In the end what was rightly paid is granted exactly once.

use super::*;
use crate::purchase::{Grant, PurchaseKind};
use async_trait::async_trait;
use kernel::clock::FixedClock;
use kernel::ids::{AccountId, MemberId};
use kernel::rng::SeededEntropy;
use kernel::{Cents, Entropy, Moment};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Mutex;

const SCHEDULES: u64 = 500;
const STEPS: u32 = 120;

/// Makes one call in so many fail, before or after its work; `0` makes none fail.
struct Faults {
    rng: Arc<SeededEntropy>,
    one_in: AtomicU32,
    seen: AtomicU32,
}

impl Faults {
    fn strikes(&self) -> bool {
        let one_in = self.one_in.load(Ordering::SeqCst);
        let strikes = one_in > 0 && self.rng.below(u64::from(one_in)) == 0;
        self.seen.fetch_add(u32::from(strikes), Ordering::SeqCst);
        strikes
    }

    /// Lets other work go first now and then, so that two acts at once really mix.
    async fn interleave(&self) {
        for _ in 0..self.rng.below(3) {
            tokio::task::yield_now().await;
        }
    }

    async fn provider(&self) -> Result<(), PaymentError> {
        self.interleave().await;
        if self.strikes() { Err(PaymentError::Unavailable("planted".to_owned())) } else { Ok(()) }
    }

    async fn ledger(&self) -> Result<(), StoreError> {
        self.interleave().await;
        let planted = || StoreError::unavailable("planted", std::io::Error::other("planted"));
        if self.strikes() { Err(planted()) } else { Ok(()) }
    }
}

/// A payment provider in memory: one page a purchase, changed by the schedule's customer.
struct Provider {
    pages: Mutex<BTreeMap<String, PaidSession>>,
    faults: Arc<Faults>,
    refuses: bool,
}

#[async_trait]
impl PaymentProvider for Provider {
    async fn begin_checkout(&self, order: &CheckoutOrder) -> Result<CheckoutSession, PaymentError> {
        if self.refuses {
            return Err(PaymentError::Refused { message: "no".to_owned() });
        }
        self.faults.provider().await?;
        let id = format!("cs_{}", order.purchase);
        self.pages.lock().await.entry(id.clone()).or_insert_with(|| PaidSession {
            session: id.clone(),
            purchase: Some(order.purchase),
            payment: None,
            status: SessionStatus::Open,
            total: order.total,
            currency: "usd".to_owned(),
            live: false,
        });
        self.faults.provider().await?;
        Ok(CheckoutSession { url: format!("https://pay.test/{id}"), id })
    }

    async fn session(&self, id: &str) -> Result<PaidSession, PaymentError> {
        self.faults.provider().await?;
        let page = self.pages.lock().await.get(id).cloned();
        page.ok_or_else(|| PaymentError::Malformed("no such session".to_owned()))
    }

    async fn expire(&self, id: &str) -> Result<(), PaymentError> {
        self.faults.provider().await?;
        if let Some(page) = self.pages.lock().await.get_mut(id)
            && page.status == SessionStatus::Open
        {
            page.status = SessionStatus::Expired;
        }
        Ok(())
    }
}

/// A ledger in memory. `guarded: false` forgets that a grant's key is the purchase, to show that the model
/// notices.
struct Books {
    rows: Mutex<BTreeMap<PurchaseId, Purchase>>,
    grants: Mutex<Vec<(PurchaseId, Cents)>>,
    events: Mutex<BTreeSet<String>>,
    faults: Arc<Faults>,
    guarded: bool,
}

#[async_trait]
impl PurchaseLedger for Books {
    async fn open_purchase(&self, new: &NewPurchase) -> Result<Purchase, StoreError> {
        self.faults.ledger().await?;
        let row = self.rows.lock().await.entry(new.id).or_insert_with(|| row_of(new)).clone();
        self.faults.ledger().await?;
        Ok(row)
    }

    async fn attach_session(
        &self,
        _org: OrgId,
        id: PurchaseId,
        session: &str,
        url: &str,
    ) -> Result<(), StoreError> {
        self.faults.ledger().await?;
        let mut rows = self.rows.lock().await;
        let row = rows.get_mut(&id).unwrap();
        row.session = Some(session.to_owned());
        row.checkout_url = Some(url.to_owned());
        Ok(())
    }

    async fn purchase(&self, org: OrgId, id: PurchaseId) -> Result<Option<Purchase>, StoreError> {
        self.faults.ledger().await?;
        Ok(self.rows.lock().await.get(&id).filter(|row| row.org == org).cloned())
    }

    async fn purchases(&self, _org: OrgId, _limit: u32) -> Result<Vec<Purchase>, StoreError> {
        Ok(self.rows.lock().await.values().cloned().collect())
    }
}

#[async_trait]
impl GrantLedger for Books {
    async fn purchase_by_session(&self, session: &str) -> Result<Option<Purchase>, StoreError> {
        self.faults.ledger().await?;
        let rows = self.rows.lock().await;
        Ok(rows.values().find(|row| row.session.as_deref() == Some(session)).cloned())
    }

    async fn purchase_by_id(&self, id: PurchaseId) -> Result<Option<Purchase>, StoreError> {
        Ok(self.rows.lock().await.get(&id).cloned())
    }

    async fn purchase_by_payment(&self, payment: &str) -> Result<Option<Purchase>, StoreError> {
        let rows = self.rows.lock().await;
        Ok(rows.values().find(|row| row.payment.as_deref() == Some(payment)).cloned())
    }

    async fn purchases_to_check(
        &self,
        begun_before: Moment,
        _now: Moment,
        limit: u32,
    ) -> Result<Vec<Purchase>, StoreError> {
        self.faults.ledger().await?;
        let rows = self.rows.lock().await;
        let open = rows.values().filter(|r| r.state == PurchaseState::Open && r.created_at < begun_before);
        Ok(open.take(usize::try_from(limit).unwrap()).cloned().collect())
    }

    async fn grant(&self, grant: &Grant) -> Result<Granted, StoreError> {
        self.faults.ledger().await?;
        let mut rows = self.rows.lock().await;
        let Some(row) = rows.get_mut(&grant.purchase) else { return Ok(Granted::Missing) };
        let granted = row.state == PurchaseState::Granted;
        if granted && self.guarded {
            return Ok(Granted::Already);
        }
        row.state = PurchaseState::Granted;
        row.payment = Some(grant.payment.clone());
        let mut grants = self.grants.lock().await;
        grants.push((row.id, row.amount));
        // The commit may stand although the answer is lost.
        self.faults.ledger().await?;
        Ok(Granted::Done { account: row.account, seq: i64::try_from(grants.len()).unwrap() })
    }

    async fn end_purchase(&self, id: PurchaseId, end: PurchaseEnd) -> Result<(), StoreError> {
        self.faults.ledger().await?;
        let mut rows = self.rows.lock().await;
        let row = rows.get_mut(&id).unwrap();
        if row.state != PurchaseState::Granted {
            row.state = match end {
                PurchaseEnd::Failed => PurchaseState::Failed,
                PurchaseEnd::Expired => PurchaseState::Expired,
            };
        }
        self.faults.ledger().await
    }

    async fn note_event(&self, event: &str, _kind: &str) -> Result<bool, StoreError> {
        self.faults.ledger().await?;
        Ok(self.events.lock().await.insert(event.to_owned()))
    }
}

fn row_of(new: &NewPurchase) -> Purchase {
    Purchase {
        id: new.id,
        org: new.org,
        member: new.member,
        account: AccountRef { account: AccountId::from_uuid(new.org.uuid()), shard: 0 },
        kind: PurchaseKind::Checkout,
        amount: new.amount,
        fee: new.fee,
        refunded: Cents::new(0),
        disputed: Cents::new(0),
        state: PurchaseState::Open,
        session: None,
        checkout_url: None,
        payment: None,
        created_at: new.created_at,
        granted_at: None,
    }
}

/// What the customer did with a page: the model's whole memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Nothing,
    Paid,
    PaidWrongly,
}

struct World {
    rng: Arc<SeededEntropy>,
    clock: Arc<FixedClock>,
    provider: Arc<Provider>,
    books: Arc<Books>,
    faults: Arc<Faults>,
    desk: PurchaseDesk,
    begun: Vec<NewPurchase>,
    deeds: BTreeMap<PurchaseId, Deed>,
    wire: Vec<PaymentEvent>,
    tally: Tally,
}

/// How much of everything the schedules saw, so that a test of nothing fails.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    purchases: u32,
    paid: u32,
    by_event: u32,
    by_poll: u32,
    already: u32,
    dropped: u32,
    alarms: u32,
    faults: u32,
}

impl World {
    fn new(seed: u64, guarded: bool) -> Self {
        let rng = Arc::new(SeededEntropy::new(seed));
        let clock = Arc::new(FixedClock::at(Moment::from_timestamp_millis(1_790_000_000_000).unwrap()));
        let faults = Arc::new(Faults { rng: rng.clone(), one_in: 9.into(), seen: 0.into() });
        let pages = Mutex::default();
        let provider = Arc::new(Provider { pages, faults: faults.clone(), refuses: false });
        let books = Arc::new(Books {
            rows: Mutex::default(),
            grants: Mutex::default(),
            events: Mutex::default(),
            faults: faults.clone(),
            guarded,
        });
        let desk = PurchaseDesk::new(provider.clone(), books.clone(), books.clone(), clock.clone(), false);
        let (begun, deeds, wire, tally) = Default::default();
        Self { rng, clock, provider, books, faults, desk, begun, deeds, wire, tally }
    }

    fn chance(&self, of: u64) -> u64 {
        self.rng.below(of)
    }

    fn pick(&self, len: usize) -> usize {
        usize::try_from(self.rng.below(u64::try_from(len).unwrap())).unwrap()
    }

    async fn begin(&mut self) {
        // Half of the time an old form is sent again.
        let again = !self.begun.is_empty() && self.chance(2) == 0;
        let purchase = if again {
            self.begun[self.pick(self.begun.len())].clone()
        } else {
            self.tally.purchases += 1;
            self.new_purchase()
        };
        let (success_url, cancel_url) = ("https://shop.test/done", "https://shop.test/credits");
        let begin = BeginPurchase { purchase, email: "a@b.test", success_url, cancel_url };
        let _answer_may_be_lost = self.desk.begin(&begin).await;
    }

    fn new_purchase(&mut self) -> NewPurchase {
        let purchase = NewPurchase {
            id: PurchaseId::new(&*self.clock, &*self.rng),
            org: OrgId::new(&*self.clock, &*self.rng),
            member: MemberId::new(&*self.clock, &*self.rng),
            amount: Cents::new(500 + i64::try_from(self.chance(10_000)).unwrap()),
            fee: Cents::new(80),
            created_at: self.clock.now(),
        };
        self.begun.push(purchase.clone());
        self.deeds.insert(purchase.id, Deed::Nothing);
        purchase
    }

    /// The customer of a random page acts, and the provider sends one to three messages about it.
    async fn customer_acts(&mut self) {
        if self.begun.is_empty() {
            return;
        }
        let new = self.begun[self.pick(self.begun.len())].clone();
        let deed = [Deed::Paid, Deed::Paid, Deed::PaidWrongly, Deed::Nothing][self.pick(4)];
        let mut pages = self.provider.pages.lock().await;
        let Some(page) = pages.get_mut(&format!("cs_{}", new.id)) else { return };
        if !matches!(page.status, SessionStatus::Open | SessionStatus::Processing) {
            return;
        }
        page.status = match deed {
            Deed::Nothing if self.rng.below(2) == 0 => SessionStatus::Processing,
            Deed::Nothing => SessionStatus::Expired,
            Deed::Paid | Deed::PaidWrongly => SessionStatus::Paid,
        };
        page.payment = Some(format!("pi_{}", new.id));
        if deed == Deed::PaidWrongly {
            page.total = Cents::new(page.total.get() - 1);
        }
        drop(pages);
        self.deeds.insert(new.id, deed);
        self.tally.paid += u32::from(deed == Deed::Paid);
        for _ in 0..=self.chance(3) {
            let event = self.event_about(&new);
            self.wire.push(event);
        }
    }

    /// Sometimes an event names only the session, sometimes only the purchase.
    fn event_about(&self, new: &NewPurchase) -> PaymentEvent {
        let form = self.chance(3);
        PaymentEvent {
            id: format!("evt_{}", self.rng.next_u64()),
            kind: "something happened".to_owned(),
            live: false,
            session: (form != 0).then(|| format!("cs_{}", new.id)),
            payment: None,
            dispute: None,
            refund: false,
            purchase: (form != 1).then_some((new.org, new.id)),
        }
    }

    /// Two messages at once, often about the same purchase and sometimes the same one.
    async fn deliver(&mut self) {
        if self.wire.is_empty() {
            return;
        }
        let (one, other) = (self.pick(self.wire.len()), self.pick(self.wire.len()));
        let (first, second) = (self.wire[one].clone(), self.wire[other].clone());
        let (a, b) = tokio::join!(self.desk.handle_event(&first), self.desk.handle_event(&second));
        self.count(&a);
        self.count(&b);
        // One answer in three is lost, so the same event comes again.
        if a.is_ok() && self.chance(3) > 0 {
            self.wire.swap_remove(one);
        }
    }

    fn count(&mut self, answer: &Result<Progress, DeskError>) {
        match answer {
            Ok(Progress::Granted { .. }) => self.tally.by_event += 1,
            Ok(Progress::Already { .. }) => self.tally.already += 1,
            Ok(Progress::Alarm(_)) => self.tally.alarms += 1,
            _ => {}
        }
    }

    async fn poll(&mut self) {
        if let Ok(polled) = self.desk.poll_open(1000).await {
            self.tally.by_poll += u32::try_from(polled.granted.len()).unwrap();
            self.tally.alarms += polled.alarms;
        }
    }

    async fn step(&mut self) {
        match self.chance(12) {
            0 | 1 => self.begin().await,
            2..=4 => self.customer_acts().await,
            5..=8 => self.deliver().await,
            9 if !self.wire.is_empty() => {
                let at = self.pick(self.wire.len());
                self.wire.swap_remove(at);
                self.tally.dropped += 1;
            }
            10 => self.poll().await,
            _ => self.clock.advance(Duration::from_secs(self.chance(1800))),
        }
    }

    /// Nothing fails any more, open pages lapse, the poller has its turn, and the last messages come in.
    async fn calm_down(&mut self) {
        self.faults.one_in.store(0, Ordering::SeqCst);
        for (id, page) in self.provider.pages.lock().await.iter_mut() {
            if matches!(page.status, SessionStatus::Open | SessionStatus::Processing) {
                page.status = SessionStatus::Expired;
                let purchase = page.purchase.unwrap();
                self.deeds.insert(purchase, Deed::Nothing);
                assert!(id.starts_with("cs_"));
            }
        }
        self.clock.advance(CHECKOUT_LIFETIME * 2);
        self.poll().await;
        while !self.wire.is_empty() {
            self.deliver().await;
        }
        self.poll().await;
        self.tally.faults = self.faults.seen.load(Ordering::SeqCst);
    }

    /// Every difference between the books and the model.
    async fn differences(&self) -> Vec<String> {
        let mut found = Vec::new();
        let rows = self.books.rows.lock().await;
        let grants = self.books.grants.lock().await;
        for (id, row) in rows.iter() {
            let got: Vec<_> = grants.iter().filter(|(of, _)| of == id).map(|(_, amount)| *amount).collect();
            // A page that was made but never attached can be paid only by a customer who saw its address; the
            // schedule lets that happen too, and an event must then find the purchase by its name.
            let unseen = row.session.is_none() && got.is_empty();
            let (state, due) = match self.deeds[id] {
                Deed::Paid if !unseen => (PurchaseState::Granted, vec![row.amount]),
                Deed::PaidWrongly if !unseen => (PurchaseState::Open, vec![]),
                _ => (PurchaseState::Expired, vec![]),
            };
            if row.state != state || got != due {
                found.push(format!("{id}: {:?} with {got:?}, not {state:?} with {due:?}", row.state));
            }
        }
        found
    }
}

async fn run(seed: u64, guarded: bool) -> (Tally, Vec<String>) {
    let mut world = World::new(seed, guarded);
    for _ in 0..STEPS {
        world.step().await;
    }
    world.calm_down().await;
    (world.tally, world.differences().await)
}

#[tokio::test]
async fn whatever_happens_to_the_messages_a_paid_purchase_is_granted_exactly_once() {
    let mut sum = Tally::default();
    for seed in 0..SCHEDULES {
        let (tally, differences) = run(seed, true).await;
        assert_eq!(differences, Vec::<String>::new(), "seed {seed}");
        sum.purchases += tally.purchases;
        sum.paid += tally.paid;
        sum.by_event += tally.by_event;
        sum.by_poll += tally.by_poll;
        sum.already += tally.already;
        sum.dropped += tally.dropped;
        sum.alarms += tally.alarms;
        sum.faults += tally.faults;
    }
    println!("{SCHEDULES} schedules of {STEPS} steps: {sum:?}");
    for (what, seen) in [
        ("grants by event", sum.by_event),
        ("grants by poll", sum.by_poll),
        ("repeats", sum.already),
        ("losses", sum.dropped),
        ("alarms", sum.alarms),
        ("faults", sum.faults),
    ] {
        assert!(seen > 100, "only {seen} {what}");
    }
}

#[tokio::test]
async fn the_model_notices_a_ledger_that_grants_twice() {
    let mut noticed = 0;
    for seed in 0..50 {
        noticed += usize::from(!run(seed, false).await.1.is_empty());
    }
    assert!(noticed > 0);
}

#[tokio::test]
async fn begin_is_idempotent_and_closes_what_can_no_longer_begin() {
    let mut world = World::new(1, true);
    world.faults.one_in.store(0, Ordering::SeqCst);
    let purchase = world.new_purchase();
    let begin = |purchase: &NewPurchase| BeginPurchase {
        purchase: purchase.clone(),
        email: "a@b.test",
        success_url: "https://shop.test/done",
        cancel_url: "https://shop.test/credits",
    };
    let first = world.desk.begin(&begin(&purchase)).await.unwrap();
    assert_eq!(world.desk.begin(&begin(&purchase)).await.unwrap(), first);
    assert_eq!(world.provider.pages.lock().await.len(), 1);

    let other_terms = NewPurchase { amount: Cents::new(1), ..purchase.clone() };
    assert!(matches!(world.desk.begin(&begin(&other_terms)).await, Err(DeskError::Store(_))));

    let gone = world.desk.abandon(purchase.org, purchase.id).await.unwrap();
    assert_eq!(gone, Some(Progress::Ended(PurchaseEnd::Expired)));
    assert_eq!(world.desk.begin(&begin(&purchase)).await.unwrap(), Begun::Closed(PurchaseState::Expired));

    let late = world.new_purchase();
    world.clock.advance(LAST_BEGIN + Duration::from_secs(1));
    assert_eq!(world.desk.begin(&begin(&late)).await.unwrap(), Begun::Closed(PurchaseState::Expired));
    assert_eq!(world.provider.pages.lock().await.len(), 1);
}

#[tokio::test]
async fn a_refused_purchase_has_failed_and_says_so_the_next_time() {
    let world = World::new(2, true);
    world.faults.one_in.store(0, Ordering::SeqCst);
    let provider = Provider { pages: Mutex::default(), faults: world.faults.clone(), refuses: true };
    let desk = PurchaseDesk::new(
        Arc::new(provider),
        world.books.clone(),
        world.books.clone(),
        world.clock.clone(),
        false,
    );
    let mut scribe = World::new(3, true);
    let begin = BeginPurchase {
        purchase: scribe.new_purchase(),
        email: "a@b.test",
        success_url: "https://shop.test/done",
        cancel_url: "https://shop.test/credits",
    };
    assert!(matches!(desk.begin(&begin).await, Err(DeskError::Payment(PaymentError::Refused { .. }))));
    assert_eq!(desk.begin(&begin).await.unwrap(), Begun::Closed(PurchaseState::Failed));
}

#[tokio::test]
async fn events_of_the_wrong_mode_or_about_nothing_of_ours_change_nothing() {
    let world = World::new(4, true);
    world.faults.one_in.store(0, Ordering::SeqCst);
    let event = |live| PaymentEvent {
        id: "evt_1".to_owned(),
        kind: "checkout.session.completed".to_owned(),
        live,
        session: Some("cs_somebody_else".to_owned()),
        payment: None,
        dispute: None,
        refund: false,
        purchase: None,
    };
    let wrong = world.desk.handle_event(&event(true)).await.unwrap();
    assert_eq!(wrong, Progress::Alarm(Mismatch::LiveMode));
    assert!(world.books.events.lock().await.is_empty());
    assert_eq!(world.desk.handle_event(&event(false)).await.unwrap(), Progress::Foreign);
    assert!(world.books.events.lock().await.contains("evt_1"));
}

#[tokio::test]
async fn a_second_page_of_one_purchase_alarms_only_when_it_was_paid() {
    let mut world = World::new(5, true);
    world.faults.one_in.store(0, Ordering::SeqCst);
    world.begin().await;
    let new = world.begun[0].clone();
    let first = world.provider.pages.lock().await.values().next().unwrap().clone();
    let mut event = world.event_about(&new);
    event.session = Some("cs_second".to_owned());
    event.purchase = Some((new.org, new.id));
    let rows = [
        (SessionStatus::Open, Progress::Waiting),
        (SessionStatus::Expired, Progress::Waiting),
        (SessionStatus::Paid, Progress::Alarm(Mismatch::Purchase)),
    ];
    for (status, expected) in rows {
        let second = PaidSession { session: "cs_second".to_owned(), status, ..first.clone() };
        world.provider.pages.lock().await.insert("cs_second".to_owned(), second);
        assert_eq!(world.desk.handle_event(&event).await.unwrap(), expected);
        assert_eq!(world.books.rows.lock().await[&new.id].state, PurchaseState::Open);
    }
}

#[tokio::test]
async fn a_poll_ends_early_when_the_provider_is_out_and_passes_over_one_odd_purchase() {
    let mut world = World::new(6, true);
    world.faults.one_in.store(0, Ordering::SeqCst);
    while world.begun.len() < 6 {
        world.begin().await;
    }
    // Their webhooks may still come.
    assert_eq!(world.desk.poll_open(1000).await.unwrap(), Polled::default());
    world.clock.advance(POLL_AFTER * 2);

    let out = Arc::new(Faults { rng: world.rng.clone(), one_in: 1.into(), seen: 0.into() });
    let provider = Provider { pages: Mutex::default(), faults: out.clone(), refuses: false };
    let desk = PurchaseDesk::new(
        Arc::new(provider),
        world.books.clone(),
        world.books.clone(),
        world.clock.clone(),
        false,
    );
    assert_eq!(desk.poll_open(1000).await.unwrap(), Polled { failed: OUTAGES_MAX, ..Polled::default() });
    assert_eq!(out.seen.load(Ordering::SeqCst), OUTAGES_MAX);

    // Pages that the provider does not know are each purchase's own trouble.
    let gone: Vec<_> = world.begun.iter().take(4).map(|new| format!("cs_{}", new.id)).collect();
    world.provider.pages.lock().await.retain(|id, _| !gone.contains(id));
    let polled = world.desk.poll_open(1000).await.unwrap();
    assert_eq!(polled, Polled { failed: 4, waiting: 2, ..Polled::default() });
}

#[tokio::test]
async fn a_returning_customer_gets_the_credits_before_the_webhook_and_giving_up_takes_nothing_back() {
    let mut world = World::new(7, true);
    world.faults.one_in.store(0, Ordering::SeqCst);
    world.begin().await;
    let new = world.begun[0].clone();
    assert_eq!(world.desk.check(new.org, new.id).await.unwrap(), Some(Progress::Waiting));
    let stranger = OrgId::from_uuid(Default::default());
    assert_eq!(world.desk.check(stranger, new.id).await.unwrap(), None);
    assert_eq!(world.desk.abandon(stranger, new.id).await.unwrap(), None);

    world.provider.pages.lock().await.values_mut().for_each(|page| page.status = SessionStatus::Paid);
    let account = AccountRef { account: AccountId::from_uuid(new.org.uuid()), shard: 0 };
    let granted = Progress::Granted { purchase: new.id, account, seq: 1 };
    assert_eq!(world.desk.abandon(new.org, new.id).await.unwrap(), Some(granted));
    let already = Some(Progress::Already { account });
    assert_eq!(world.desk.abandon(new.org, new.id).await.unwrap(), already);
    assert_eq!(world.desk.check(new.org, new.id).await.unwrap(), already);
    assert_eq!(*world.books.grants.lock().await, [(new.id, new.amount)]);
}
