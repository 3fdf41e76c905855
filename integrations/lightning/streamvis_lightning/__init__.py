"""PyTorch Lightning and Fabric runs, logged to streamvis."""
