//! `/healthz`: the process lives. `/readyz`: it can serve (stores reachable, catalog loaded, not draining).

use actix_web::{HttpResponse, web};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the process wants new requests.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    ready: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
}

impl Readiness {
    pub fn set(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }

    /// The process ends: it is not ready any more, whatever its stores say, and takes no new calls.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst) && !self.is_draining()
    }
}

/// Adds both routes.
pub fn configure(cfg: &mut web::ServiceConfig, readiness: Readiness) {
    let alive = || async { HttpResponse::Ok().content_type("text/plain").body("ok\n") };
    cfg.route("/healthz", web::get().to(alive));
    let ready = move || {
        let readiness = readiness.clone();
        async move {
            if readiness.is_ready() {
                HttpResponse::Ok().content_type("text/plain").body("ready\n")
            } else {
                HttpResponse::ServiceUnavailable().insert_header(("retry-after", "2")).body("not ready\n")
            }
        }
    };
    cfg.route("/readyz", web::get().to(ready));
}
