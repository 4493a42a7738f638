//! Websockets whose client leaves before its job has ended.

use gateway::Settings;
use store::State;

use crate::site::{Site, pickle};

#[tokio::test]
async fn a_job_is_cancelled_when_the_websocket_that_waits_for_it_closes_if_its_key_says_so() {
    let site = Site::new(Settings::default()).await;
    let mut jobs = Vec::new();
    for tenant in ["ada", "brief"] {
        let socket = site.subscribe(tenant).await;
        let job = site.submit(tenant, &socket.session, &pickle::payload(b"K\x07"), "").await.job();
        site.dispatch(job, 0).await;
        jobs.push((job, socket));
    }
    // Who stays is not gone.
    let mut stays = site.subscribe("brief").await;
    let waited_for = site.submit("brief", &stays.session, &pickle::payload(b"K\x07"), "").await.job();
    let [(ada, first), (brief, second)] = <[_; 2]>::try_from(jobs).ok().unwrap();
    drop((first, second));
    let cancelled = loop {
        let cancelled = site.jobs.cancels().await.unwrap();
        if !cancelled.is_empty() {
            break cancelled;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(cancelled, [brief]);
    assert_eq!(site.jobs.find(ada).await.unwrap().unwrap().0.state, State::Dispatched);
    site.dispatch(waited_for, 0).await;
    site.finish("brief", waited_for, 1, 10).await;
    assert!(stays.end().await.is_ok());
}
