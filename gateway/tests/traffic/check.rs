//! A submission that is looked at and not taken.

use explain::Outline;
use explain::outline::Module;
use gateway::Settings;
use ids::{ModelKey, TenantId};
use program::Limits;
use store::ModelState;

use crate::site::{MODEL, Site, pickle};

const ADA: &str = "key of ada";

#[tokio::test]
async fn a_check_refuses_what_a_submission_refuses_and_in_the_same_words() {
    let limits = Limits { heap_nodes: 50, source_bytes: 10_000, ..Limits::default() };
    let site = Site::new(Settings { limits, queued_jobs_per_tenant: 3, ..Settings::default() }).await;
    let payloads = [
        pickle::block("\n\nx = (1 +", b"K\x07"),
        pickle::block("\nasync def f():\n    pass\n", b"K\x07"),
        pickle::block(&"x = 1\n".repeat(2_000), b"K\x07"),
        pickle::block(&format!("x = {}1{}", "(".repeat(500), ")".repeat(500)), b"K\x07"),
        pickle::payload(&[b"(".to_vec(), b"K\x07".repeat(100), b"t".to_vec()].concat()),
        b"no pickle".to_vec(),
        pickle::edits(10_000, 3),
    ];
    for payload in payloads {
        let (looked, sent) = (site.check(ADA, "", &payload).await, site.submit("ada", "", &payload, "").await);
        assert_eq!((looked.status, looked.json()["error"].as_str()), (sent.status, Some(sent.detail().as_str())));
        assert!(looked.status >= 400, "{}", sent.detail());
    }
    // Who waits at a websocket is told the same, as the end of a job.
    let wrong = pickle::block("\n\nx = (1 +", b"K\x07");
    let socket = site.subscribe("ada").await;
    let sent = site.submit("ada", &socket.session, &wrong, "").await.json();
    assert_eq!(site.check(ADA, &socket.session, &wrong).await.json()["error"], sent["description"]);
    let text = sent["description"].as_str().unwrap();
    assert!(text.contains("File \"f.py\", line 3") && text.contains("SyntaxError"), "{text}");

    let sound = pickle::payload(b"K\x07");
    for state in [ModelState::Failed("its disk is gone".into()), ModelState::Ready] {
        site.model(state.clone()).await;
        let (looked, sent) = (site.check(ADA, "", &sound).await, site.submit("ada", "", &sound, "").await);
        assert_eq!(looked.status, sent.status, "{state:?}");
        if state != ModelState::Ready {
            assert_eq!(looked.json()["error"].as_str(), Some(sent.detail().as_str()));
        }
    }
    // What is full is full for both, and a check fills nothing.
    for _ in 0..2 {
        site.submit("ada", "", &sound, "").await.job();
    }
    let (looked, sent) = (site.check(ADA, "", &sound).await, site.submit("ada", "", &sound, "").await);
    assert_eq!((looked.status, looked.json()["error"].as_str()), (sent.status, Some(sent.detail().as_str())));
    assert!(looked.status >= 400, "{}", sent.detail());
}

#[tokio::test]
async fn a_check_refuses_what_a_quota_refuses() {
    let site = Site::new(Settings::default()).await;
    site.keys.tenants().give(&TenantId::new("ada"), |terms| terms.quota.queued_jobs = Some(1)).await.unwrap();
    let whoami = || site.ask("GET", "/v1/whoami", "ndif-api-key: key of ada\r\n", b"");
    while whoami().await.json()["quota"]["queued_jobs"] != 1 {
        tokio::task::yield_now().await;
    }
    let sound = pickle::payload(b"K\x07");
    for _ in 0..3 {
        assert_eq!(site.check(ADA, "", &sound).await.status, 200, "a check takes nothing of it");
    }
    site.submit("ada", "", &sound, "").await.job();
    let (looked, sent) = (site.check(ADA, "", &sound).await, site.submit("ada", "", &sound, "").await);
    assert_eq!((looked.status, looked.json()["error"].as_str()), (sent.status, Some(sent.detail().as_str())));
    assert!(looked.status >= 400, "{}", sent.detail());
}

#[tokio::test]
async fn a_check_takes_a_key_that_may_submit_keeps_nothing_and_tells_what_is_known() {
    let site = Site::new(Settings::default()).await;
    let sound = pickle::block("import nnsight\ny = nnsight.save([x, 'a'])", b"K\x07");
    assert_eq!(site.check("nobody's", "", &sound).await.status, 401);
    assert_eq!(site.check("key of ada that may do nothing", "", &sound).await.status, 403);
    let told = site.check(ADA, "no websocket", &sound).await.json();
    assert_eq!((&told["model"], &told["file"], &told["session"]), (&MODEL.into(), &"f.py".into(), &true.into()));
    assert_eq!((&told["saved"][0]["name"], &told["saved"][0]["line"]), (&"y".into(), &2.into()));
    assert_eq!((&told["model_known"], &told["queue"]["model"]), (&false.into(), &0.into()));
    let other = Module { span: Some((0, 1)), ..Module::default() };
    let outline = Outline { modules: vec![other], ..Outline::default() };
    let key = ModelKey::new(MODEL, None);
    site.models.put_outline(&key, outline.encode().unwrap().into()).await.unwrap();
    site.submit("bob", "", &sound, "").await.job();
    let told = site.check(ADA, "", &sound).await.json();
    assert_eq!(
        (&told["model_known"], &told["queue"]["model"], &told["queue"]["own"]),
        (&true.into(), &1.into(), &0.into())
    );
    // One that another version wrote is as none.
    site.models.put_outline(&key, vec![0xff; 9].into()).await.unwrap();
    assert_eq!(site.check(ADA, "", &sound).await.json()["model_known"], false);
    assert_eq!(
        site.ask("GET", "/v1/jobs", "ndif-api-key: key of ada\r\n", b"").await.json()["jobs"],
        serde_json::json!([])
    );
    assert_eq!(site.files().len(), 0);
    site.models.remove(&key).await.unwrap();
    assert_eq!(site.models.outline(&key).await.unwrap(), None);
    let (looked, sent) = (site.check(ADA, "", &sound).await, site.submit("ada", "", &sound, "").await);
    assert_eq!((looked.status, looked.json()["error"].as_str()), (sent.status, Some(sent.detail().as_str())));
}
