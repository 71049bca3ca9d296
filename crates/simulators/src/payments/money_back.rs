//! What can happen to a payment after it: refunds, which the seller asks for, and disputes, which the
//! cardholder's bank opens and closes. Nothing here speaks HTTP.

use serde_json::{Value, json};

use super::actions::Act;
use super::failure::Failure;
use super::form::Params;
use super::objects::balance_transaction::Kind;
use super::objects::{balance_transaction, dispute, refund, set, text};

fn number(object: &Value, name: &str) -> i64 {
    object.get(name).and_then(Value::as_i64).unwrap_or_default()
}

impl Act<'_> {
    /// Takes so much of a charge back, at most what is left of it.
    pub(crate) fn create_refund(&mut self, params: &Params) -> Result<Value, Failure> {
        params.only(&["amount", "charge", "expand", "metadata", "payment_intent", "reason"])?;
        let mut charge = self.charge_of(params.text("/charge").or(params.text("/payment_intent")))?;
        let id = text(&charge, "/id").unwrap_or_default().to_owned();
        if charge.get("disputed") == Some(&json!(true)) {
            let message = format!("Charge {id} has been charged back; cannot issue a refund.");
            return Err(Failure { code: Some("charge_disputed"), ..Failure::invalid(message) });
        }
        let left = number(&charge, "amount_captured") - number(&charge, "amount_refunded");
        if left <= 0 {
            let message = format!("Charge {id} has already been refunded.");
            return Err(Failure { code: Some("charge_already_refunded"), ..Failure::invalid(message) });
        }
        let amount = params.integer("/amount")?.unwrap_or(left);
        if amount <= 0 || amount > left {
            let message =
                format!("Refund amount ({amount}) is greater than unrefunded amount on charge ({left})");
            return Err(Failure::parameter("amount_too_large", "amount", message));
        }
        let wish = refund::Wish {
            charge: &charge,
            amount,
            reason: params.text("/reason"),
            metadata: params.map("/metadata"),
        };
        let mut refund = refund::build(&self.mint, &wish);
        let transaction = balance_transaction::build(&self.mint, Kind::Refund, &refund, -amount);
        set(&mut refund, [("balance_transaction", json!(text(&transaction, "/id")))]);
        let refunded = number(&charge, "amount_refunded") + amount;
        set(&mut charge, [("amount_refunded", json!(refunded)), ("refunded", json!(left == amount))]);
        for object in [&transaction, &refund, &charge] {
            self.store.put(object.clone());
        }
        self.tell("refund.created", &refund);
        self.tell("charge.refunded", &charge);
        Ok(refund)
    }

    /// The customer's bank sends a refund back: the money returns to the seller.
    pub(crate) fn fail_refund(&mut self, id: &str) -> Result<Value, Failure> {
        let found = self.store.of_kind("refund", id).cloned();
        let mut refund = found.ok_or_else(|| Failure::no_such("refund", id))?;
        if text(&refund, "/status") != Some("succeeded") {
            return Err(Failure::invalid("Only a refund that succeeded can fail."));
        }
        let amount = number(&refund, "amount");
        let transaction = balance_transaction::build(&self.mint, Kind::RefundFailure, &refund, amount);
        let failure = [
            ("failure_balance_transaction", json!(text(&transaction, "/id"))),
            ("failure_reason", json!("expired_or_canceled_card")),
            ("status", json!("failed")),
        ];
        set(&mut refund, failure);
        if let Ok(mut charge) = self.charge_of(text(&refund, "/charge")) {
            let refunded = number(&charge, "amount_refunded") - amount;
            set(&mut charge, [("amount_refunded", json!(refunded)), ("refunded", json!(false))]);
            self.store.put(charge);
        }
        self.store.put(transaction);
        self.store.put(refund.clone());
        self.tell("refund.updated", &refund);
        self.tell("refund.failed", &refund);
        Ok(refund)
    }

    /// The bank opens a dispute of a charge or payment; an inquiry takes no money yet.
    pub(crate) fn open_dispute(
        &mut self,
        of: &str,
        amount: Option<i64>,
        inquiry: bool,
    ) -> Result<Value, Failure> {
        let mut charge = self.charge_of(Some(of))?;
        if charge.get("disputed") == Some(&json!(true)) {
            return Err(Failure::invalid("This charge is disputed already."));
        }
        let amount = amount.unwrap_or_else(|| number(&charge, "amount"));
        let status = if inquiry { "warning_needs_response" } else { "needs_response" };
        let mut opened = dispute::build(&self.mint, &charge, amount, status);
        set(&mut charge, [("disputed", json!(true))]);
        self.store.put(charge);
        if !inquiry {
            self.withdraw(&mut opened);
        }
        self.store.put(opened.clone());
        self.tell("charge.dispute.created", &opened);
        if !inquiry {
            self.tell("charge.dispute.funds_withdrawn", &opened);
        }
        Ok(opened)
    }

    /// Moves a dispute to another status: an inquiry escalates or is closed, a dispute is won or lost.
    pub(crate) fn move_dispute(&mut self, id: &str, status: &str) -> Result<Value, Failure> {
        let found = self.store.of_kind("dispute", id).cloned();
        let mut dispute = found.ok_or_else(|| Failure::no_such("dispute", id))?;
        let was = text(&dispute, "/status").unwrap_or_default().to_owned();
        let inquiry = was.starts_with("warning_");
        let closed = matches!(was.as_str(), "won" | "lost" | "warning_closed");
        let possible = match status {
            "needs_response" | "warning_closed" => inquiry,
            "under_review" | "won" | "lost" => !inquiry,
            _ => false,
        };
        if closed || !possible {
            return Err(Failure::invalid(format!("A dispute in {was} cannot become {status}.")));
        }
        set(&mut dispute, [("status", json!(status))]);
        match status {
            "needs_response" => self.withdraw(&mut dispute),
            "won" => self.reinstate(&mut dispute),
            _ => {}
        }
        self.store.put(dispute.clone());
        let news: &[&str] = match status {
            "won" => &["charge.dispute.closed", "charge.dispute.funds_reinstated"],
            "lost" | "warning_closed" => &["charge.dispute.closed"],
            "needs_response" => &["charge.dispute.updated", "charge.dispute.funds_withdrawn"],
            _ => &["charge.dispute.updated"],
        };
        for kind in news {
            self.tell(kind, &dispute);
        }
        Ok(dispute)
    }

    fn withdraw(&mut self, dispute: &mut Value) {
        let amount = number(dispute, "amount");
        self.book(dispute, Kind::Dispute, -amount);
    }

    fn reinstate(&mut self, dispute: &mut Value) {
        let amount = number(dispute, "amount");
        self.book(dispute, Kind::DisputeReversal, amount);
    }

    fn book(&mut self, dispute: &mut Value, kind: Kind, amount: i64) {
        let transaction = balance_transaction::build(&self.mint, kind, dispute, amount);
        if let Some(list) = dispute.get_mut("balance_transactions").and_then(Value::as_array_mut) {
            list.push(transaction.clone());
        }
        self.store.put(transaction);
    }

    /// The charge behind an id of a charge or of a payment.
    fn charge_of(&self, id: Option<&str>) -> Result<Value, Failure> {
        let id = id.ok_or_else(|| Failure::missing("charge"))?;
        let latest =
            self.store.of_kind("payment_intent", id).and_then(|intent| text(intent, "/latest_charge"));
        let charge = self.store.of_kind("charge", latest.unwrap_or(id)).cloned();
        charge
            .filter(|charge| charge.get("captured") == Some(&json!(true)))
            .ok_or_else(|| Failure::no_such("charge", id))
    }
}
