//! How urgent a job is, from its acceptance to its end.

use std::sync::Arc;

use bytes::Bytes;
use ids::{Class, JobId, KeyId, ModelKey, TenantId};
use store::{Blob, JobRecord, Jobs, MemoryStore};

#[tokio::test]
async fn a_job_keeps_the_class_that_it_was_accepted_with() {
    let jobs = Jobs::new(Arc::new(MemoryStore::new(1)));
    for class in Class::ALL {
        let (tenant, key, model) = (TenantId::new("lab"), KeyId::new("key"), ModelKey::new("o/n", None));
        let payload = Blob::Inline(Bytes::from_static(b"program"));
        let record = JobRecord { class, ..JobRecord::queued(JobId::new(), tenant, key, model, payload, 1) };
        jobs.accept(&record).await.unwrap();
        assert_eq!(jobs.get(&record.tenant, record.id).await.unwrap().unwrap().class, class);
        let live = jobs.live().await.unwrap().jobs.into_iter().find(|live| live.id == record.id).unwrap();
        assert_eq!(live.class, class);
    }
}
