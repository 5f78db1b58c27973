"""artdaqDB, the intermediate store, in the forms sites run it."""
