"""trainbus: one list of callbacks for every training loop."""
