"""What people and programs see over HTTP. Gets everything it shows injected; imports no leaf room."""
