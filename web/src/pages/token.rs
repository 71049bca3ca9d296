//! The browser's pass to the gateway: five minutes, for one member, never an API key.

use crate::trouble::{Answer, Trouble};
use crate::visit::Post;
use accounts::Role;
use accounts::token::{BrowserClaims, LIFETIME_SECONDS, TokenSigner};
use actix_web::{HttpResponse, web};
use kernel::Clock;

const WHO_CALLS: &str = "Owners, admins and developers call models. Ask for one of these roles.";

/// `{"token": "…", "expires_in": 300}`.
pub(crate) async fn issue(post: Post, signer: web::Data<TokenSigner>, clock: web::Data<dyn Clock>) -> Answer {
    let member = post.visit.may(Role::calls_models, WHO_CALLS)?;
    let claims = BrowserClaims {
        org: member.org.id,
        member: member.member.id,
        workspace: member.org.default_workspace,
        account: member.org.account,
    };
    let token = signer.sign(&claims, clock.now()).map_err(|error| Trouble::Broken(error.to_string()))?;
    Ok(HttpResponse::Ok()
        .insert_header(("cache-control", "no-store"))
        .json(serde_json::json!({ "token": token, "expires_in": LIFETIME_SECONDS })))
}
