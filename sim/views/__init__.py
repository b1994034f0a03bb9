"""Any environment and one of its tasks behind the interfaces of other libraries: dm_env and Gymnasium."""
