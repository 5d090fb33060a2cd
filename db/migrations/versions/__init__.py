"""The revisions, named by time; one that was released is never edited."""
