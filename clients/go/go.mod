module foreshard.dev/client

go 1.26.0
