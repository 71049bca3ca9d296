//! The copy of keys and the list of blocked ones on a real Redis.

use crate::support::Bed;
use accounts::shelf::{Block, BlockAct, KeyBlocks as _, Shelf as _, ShelfName, ShelfRow};
use billing::engine::EngineEpochs as _;
use kernel::ids::OrgId;
use kernel::{Moment, StoreErrorKind};
use uuid::Uuid;

fn row(name: ShelfName, version: i64, text: &str) -> ShelfRow {
    ShelfRow { name, version, text: text.to_owned() }
}

fn org(number: u128) -> OrgId {
    OrgId::from_uuid(Uuid::from_u128(number))
}

#[tokio::test]
async fn an_older_text_never_replaces_a_newer_one() {
    let bed = Bed::private().await;
    for name in [ShelfName::Key([200; 32]), ShelfName::Org(org(9))] {
        assert_eq!(bed.engine.get(&name).await.unwrap().text, None);
        bed.engine.put(&[row(name, 9, "a|b"), row(name, 10, "new"), row(name, 9, "old")]).await.unwrap();
        assert_eq!(bed.engine.get(&name).await.unwrap().text.as_deref(), Some("new"));
        bed.engine.put(&[row(name, 10, "same version")]).await.unwrap();
        assert_eq!(bed.engine.get(&name).await.unwrap().text.as_deref(), Some("new"));
    }
}

#[tokio::test]
async fn a_copy_is_whole_in_the_life_in_which_it_was_filled() {
    let bed = Bed::private().await;
    let name = ShelfName::Key([1; 32]);
    assert!(!bed.engine.get(&name).await.unwrap().whole);
    let life = bed.engine.life().unwrap();
    bed.engine.set_whole(&life).await.unwrap();
    assert!(bed.engine.is_whole().await.unwrap() && bed.engine.get(&name).await.unwrap().whole);
    bed.engine.open_epoch(63, 2).await.unwrap();
    assert!(!bed.engine.is_whole().await.unwrap(), "another life may have lost the last second");
    bed.engine.set_whole(&life).await.unwrap();
    assert!(!bed.engine.is_whole().await.unwrap(), "it was filled in the life before");
}

#[tokio::test]
async fn a_list_of_blocks_is_read_when_it_changed_and_is_bounded() {
    let bed = Bed::private().await;
    let block = |number: u128, hash: &str, act| Block {
        org: org(number),
        hash: hash.to_owned(),
        act,
        at: Moment::from_timestamp_millis(1_700_000_000_123).unwrap(),
    };
    assert!(bed.engine.news("").await.unwrap().is_none(), "an empty list is no news");
    let (one, two) = (block(1, "aa", BlockAct::Disable), block(2, "bb", BlockAct::Delete));
    bed.engine.block(&one).await.unwrap();
    let first = bed.engine.news("").await.unwrap().unwrap();
    assert!(bed.engine.news(&first.mark).await.unwrap().is_none());
    bed.engine.block(&two).await.unwrap();
    let second = bed.engine.news(&first.mark).await.unwrap().unwrap();
    let mut all = bed.engine.blocks().await.unwrap();
    all.sort_by_key(|block| block.org);
    assert_eq!(all, [one, two.clone()]);
    bed.engine.unblock(org(1), "bb").await.unwrap();
    assert!(bed.engine.news(&second.mark).await.unwrap().is_none(), "another organization's");
    bed.engine.unblock(org(1), "aa").await.unwrap();
    assert!(bed.engine.news(&second.mark).await.unwrap().is_some());
    assert_eq!(bed.engine.blocks().await.unwrap(), std::slice::from_ref(&two));
    let mut fill = redis::pipe();
    for number in 0..10_000 {
        fill.cmd("HSET")
            .arg("{ck}:b")
            .arg(format!("{}:{number}", Uuid::from_u128(3).simple()))
            .arg("d|1")
            .ignore();
    }
    let () = fill.query_async(&mut bed.raw.clone()).await.unwrap();
    let full = bed.engine.block(&block(3, "new", BlockAct::Disable)).await.unwrap_err();
    assert_eq!(full.kind, StoreErrorKind::Unavailable);
    bed.engine.block(&two).await.unwrap();
}
