package db

import (
	"testing"
)

func TestStoreContractSQLite(t *testing.T) {
	runStoreContract(t, openSQLiteTest)
}
