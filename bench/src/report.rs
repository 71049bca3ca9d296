//! Figures as people read them, and as a file for later comparison.

use crate::cpu;
use crate::run::{Cell, Contender, Kind};
use crate::time::today;
use crate::workload::Workload;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The floor that ratios refer to.
const FLOOR: &str = "paid";
/// What latencies are compared with.
const DIRECT: &str = "direct";

/// All cells of a run.
#[derive(Debug)]
pub struct Report {
    cells: Vec<Cell>,
    /// Contender and KiB at rest.
    resident: Vec<(&'static str, u64)>,
    /// Nanoseconds that writing the ledger and the other jobs took per answer, beside the request path.
    background: u64,
}

impl Report {
    #[must_use]
    pub fn new(cells: Vec<Cell>, contenders: &[Contender], background: u64) -> Self {
        let resident = contenders.iter().map(|contender| (contender.name, contender.resident)).collect();
        Self { cells, resident, background }
    }

    /// The tables of a run.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = format!("{} · {}\n\n", today(), cpu::machine());
        out.push_str("CPU per request in µs (closed loop)\n\n");
        out.push_str(
            "| workload | target | answers | failed | req/s | gateway | ÷ paid floor | Redis | p50 | p99 |\n",
        );
        out.push_str("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n");
        for cell in self.cells.iter().filter(|cell| matches!(cell.kind, Kind::Full(..))) {
            self.full_row(cell, &mut out);
        }
        let background = micros(self.background);
        let _infallible = writeln!(
            out,
            "\nBeside the request path farebox spent {background} µs per answer on writing the ledger and other jobs.\n"
        );
        out.push_str("Latency in µs at a constant rate (open loop)\n\n");
        out.push_str("| workload | target | answers | failed | p50 | p99 | added p50 | added p99 | first event p50 | p99 | added p50 | chunk lag p50 | p99 |\n");
        out.push_str("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
        for cell in self.cells.iter().filter(|cell| matches!(cell.kind, Kind::Steady(..))) {
            self.steady_row(cell, &mut out);
        }
        let memory: Vec<String> =
            self.resident.iter().skip(1).map(|(name, kib)| format!("{name} {} MiB", kib / 1024)).collect();
        let _infallible = writeln!(out, "\nResident after warming up: {}", memory.join(", "));
        out
    }

    fn full_row(&self, cell: &Cell, out: &mut String) {
        let ratio = self.ratio(cell).map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        let _infallible = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {ratio} | {} | {} | {} |",
            name(cell.kind),
            cell.contender,
            cell.measured.answers,
            cell.measured.failures,
            rate(cell),
            micros(path(cell)),
            micros(per_answer(cell, cell.redis.process)),
            micros(cell.measured.latency.value_at_quantile(0.5)),
            micros(cell.measured.latency.value_at_quantile(0.99)),
        );
    }

    fn steady_row(&self, cell: &Cell, out: &mut String) {
        let direct = self.same(cell, DIRECT);
        let added = |histogram: fn(&Cell) -> &Histogram<u64>, quantile: f64| {
            let base = direct.map(|direct| histogram(direct).value_at_quantile(quantile));
            base.map_or_else(
                || "–".to_owned(),
                |base| micros(histogram(cell).value_at_quantile(quantile).saturating_sub(base)),
            )
        };
        let at = |histogram: &Histogram<u64>, quantile: f64| {
            if histogram.is_empty() {
                "–".to_owned()
            } else {
                micros(histogram.value_at_quantile(quantile))
            }
        };
        let measured = &cell.measured;
        let _infallible = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            name(cell.kind),
            cell.contender,
            measured.answers,
            measured.failures,
            at(&measured.latency, 0.5),
            at(&measured.latency, 0.99),
            added(|cell| &cell.measured.latency, 0.5),
            added(|cell| &cell.measured.latency, 0.99),
            at(&measured.first, 0.5),
            at(&measured.first, 0.99),
            added(|cell| &cell.measured.first, 0.5),
            at(&measured.lag, 0.5),
            at(&measured.lag, 0.99),
        );
    }

    fn same(&self, cell: &Cell, contender: &str) -> Option<&Cell> {
        self.cells.iter().find(|other| other.contender == contender && other.kind == cell.kind)
    }

    /// CPU of the request path as a multiple of the paid floor's.
    fn ratio(&self, cell: &Cell) -> Option<f64> {
        let floor = path(self.same(cell, FLOOR)?);
        (floor > 0 && cell.gateway.process > 0).then(|| float(path(cell)) / float(floor))
    }

    /// The same as JSON, in nanoseconds.
    #[must_use]
    pub fn json(&self, command: &str) -> Value {
        let cells: Vec<Value> = self.cells.iter().map(|cell| self.cell_json(cell)).collect();
        let resident: Value =
            self.resident.iter().map(|(name, kib)| ((*name).to_owned(), json!(kib))).collect();
        json!({
            "date": today(), "machine": cpu::machine(), "command": command, "cells": cells,
            "resident_kib": resident, "background_nanos_per_answer": self.background,
        })
    }

    fn cell_json(&self, cell: &Cell) -> Value {
        let measured = &cell.measured;
        let quantiles = |histogram: &Histogram<u64>| {
            let at = |quantile| histogram.value_at_quantile(quantile);
            json!({ "count": histogram.len(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": histogram.max() })
        };
        json!({
            "workload": name(cell.kind), "target": cell.contender,
            "answers": measured.answers, "failures": measured.failures, "frames": measured.frames,
            "seconds": measured.took.as_secs_f64(),
            "gateway_nanos_per_answer": path(cell),
            "gateway_process_nanos_per_answer": per_answer(cell, cell.gateway.process),
            "redis_nanos_per_answer": per_answer(cell, cell.redis.process),
            "ratio_to_paid_floor": self.ratio(cell),
            "latency_nanos": quantiles(&measured.latency),
            "first_event_nanos": quantiles(&measured.first),
            "chunk_lag_nanos": quantiles(&measured.lag),
        })
    }
}

/// CPU of the threads that carry requests. A floor does nothing else, so there the whole process counts.
fn path(cell: &Cell) -> u64 {
    let spent = if cell.contender == "farebox" { cell.gateway.workers } else { cell.gateway.process };
    per_answer(cell, spent)
}

fn per_answer(cell: &Cell, nanos: u64) -> u64 {
    nanos / cell.measured.answers.max(1)
}

fn rate(cell: &Cell) -> String {
    let millis = u64::try_from(cell.measured.took.as_millis()).unwrap_or(u64::MAX).max(1);
    (cell.measured.answers * 1000 / millis).to_string()
}

fn name(kind: Kind) -> String {
    let word = |workload: Workload| workload.model();
    match kind {
        Kind::Full(workload, connections) => format!("{}, {connections} connections", word(workload)),
        Kind::Steady(workload, rate) => format!("{}, {rate}/s", word(workload)),
    }
}

fn micros(nanos: u64) -> String {
    format!("{:.1}", float(nanos) / 1000.0)
}

/// Exact below 2^32 nanoseconds or answers, and by far enough above.
fn float(value: u64) -> f64 {
    u32::try_from(value)
        .map_or_else(|_large| f64::from(u32::try_from(value >> 16).unwrap_or(u32::MAX)) * 65536.0, f64::from)
}
